import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.ArrayList;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Executors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * All receivers of Java, on one port: /java/DIALECT/SECRET, where SECRET is `new` or `old`. 200: the
 * request is accepted, 401: it is refused. Ends when standard input ends.
 */
public class Receiver {
    static final long TOLERANCE_MS = 5 * 60 * 1000;
    /** What comes before the 32 bytes of an Ed25519 public key in its DER form. */
    static final byte[] ED25519_DER = HexFormat.of().parseHex("302a300506032b6570032100");

    /** A request that a receiver does not accept. */
    static class Refused extends Exception {
        Refused(String reason) {
            super(reason);
        }
    }

    /** What the receivers of a dialect check, written from its description. */
    interface Verifier {
        void verify(Headers headers, byte[] body, String secret) throws Refused, GeneralSecurityException;
    }

    static final Map<String, Verifier> VERIFIERS = Map.of(
        "cost-katana", (headers, body, secret) -> {
            present(headers, "X-CostKatana-Event-Id", "X-CostKatana-Webhook-Id");
            is(headers, "User-Agent", "CostKatana-Webhook/1.0");
            String ts = near(headers.getFirst("X-CostKatana-Timestamp"), 1);
            String wanted = "sha256=" + hex(mac(bytes(secret), bytes(ts + "."), body));
            signed(wanted, present(headers, "X-CostKatana-Signature"));
        },
        "ops-center", (headers, body, secret) -> {
            present(headers, "X-Webhook-Event");
            is(headers, "User-Agent", "Ops-Center-Webhook/1.0");
            signed(hex(mac(bytes(secret), body)), present(headers, "X-Webhook-Signature"));
        },
        "llm-optimizer", (headers, body, secret) -> {
            present(headers, "X-Webhook-Event-Type", "X-Webhook-Event-Id");
            is(headers, "X-Webhook-Algorithm", "sha256");
            is(headers, "User-Agent", "LLM-Auto-Optimizer-Webhook/1.0");
            String ts = near(headers.getFirst("X-Webhook-Timestamp"), 1);
            signed(hex(mac(bytes(secret), bytes(ts + "."), body)), present(headers, "X-Webhook-Signature"));
        },
        "dcision", (headers, body, secret) -> {
            String ts = near(headers.getFirst("X-DcisionAI-Timestamp"), 1000);
            signed(hex(mac(bytes(secret), bytes(ts + "."), body)), present(headers, "X-DcisionAI-Signature"));
        },
        "standard-webhooks", (headers, body, secret) -> {
            byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
            String wanted = "v1," + Base64.getEncoder().encodeToString(mac(key, standard(headers), body));
            signed(wanted, present(headers, "webhook-signature").split(" "));
        },
        "standard-webhooks-ed25519", (headers, body, secret) -> {
            byte[] bare = Base64.getDecoder().decode(secret.replaceFirst("^whpk_", ""));
            X509EncodedKeySpec key = new X509EncodedKeySpec(join(ED25519_DER, bare));
            for (String entry : present(headers, "webhook-signature").split(" ")) {
                if (!entry.startsWith("v1a,")) continue;
                Signature signature = Signature.getInstance("Ed25519");
                signature.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(key));
                signature.update(join(standard(headers), body));
                if (signature.verify(Base64.getDecoder().decode(entry.substring(4)))) return;
            }
            throw new Refused("wrong signature");
        },
        "github", (headers, body, secret) -> {
            present(headers, "X-GitHub-Event", "X-GitHub-Delivery");
            signed("sha256=" + hex(mac(bytes(secret), body)), present(headers, "X-Hub-Signature-256"));
        },
        "stripe", (headers, body, secret) -> {
            String timestamp = null;
            List<String> given = new ArrayList<>();
            for (String entry : present(headers, "Stripe-Signature").split(",")) {
                if (entry.startsWith("t=")) timestamp = entry.substring(2);
                if (entry.startsWith("v1=")) given.add(entry.substring(3));
            }
            String ts = near(timestamp, 1000);
            signed(hex(mac(bytes(secret), bytes(ts + "."), body)), given.toArray(String[]::new));
        },
        "shopify", (headers, body, secret) -> {
            present(headers, "X-Shopify-Topic", "X-Shopify-Webhook-Id", "X-Shopify-Shop-Domain",
                "X-Shopify-API-Version");
            String wanted = Base64.getEncoder().encodeToString(mac(bytes(secret), body));
            signed(wanted, present(headers, "X-Shopify-Hmac-Sha256"));
        },
        "slack", (headers, body, secret) -> {
            String ts = near(headers.getFirst("X-Slack-Request-Timestamp"), 1000);
            String wanted = "v0=" + hex(mac(bytes(secret), bytes("v0:" + ts + ":"), body));
            signed(wanted, present(headers, "X-Slack-Signature"));
        });

    static byte[] standard(Headers headers) throws Refused {
        String ts = near(headers.getFirst("webhook-timestamp"), 1000);
        return bytes(present(headers, "webhook-id") + "." + ts + ".");
    }

    /** The last of these headers; all must be there. */
    static String present(Headers headers, String... names) throws Refused {
        String value = null;
        for (String name : names) {
            value = headers.getFirst(name);
            if (value == null || value.isEmpty()) throw new Refused(name + " is missing");
        }
        return value;
    }

    static void is(Headers headers, String name, String wanted) throws Refused {
        if (!wanted.equals(headers.getFirst(name))) throw new Refused(name + " is " + headers.getFirst(name));
    }

    /** The timestamp as it was signed; it must be near, both ways. */
    static String near(String text, long unitMs) throws Refused {
        if (text == null || !text.matches("[0-9]{1,15}")) throw new Refused("no timestamp");
        long apart = Math.abs(System.currentTimeMillis() - Long.parseLong(text) * unitMs);
        if (apart > TOLERANCE_MS) throw new Refused("timestamp out of tolerance");
        return text;
    }

    static void signed(String wanted, String... given) throws Refused {
        for (String one : given) {
            if (MessageDigest.isEqual(bytes(wanted), bytes(one))) return;
        }
        throw new Refused("wrong signature");
    }

    static byte[] mac(byte[] key, byte[]... parts) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        for (byte[] part : parts) mac.update(part);
        return mac.doFinal();
    }

    static byte[] join(byte[] left, byte[] right) {
        byte[] both = java.util.Arrays.copyOf(left, left.length + right.length);
        System.arraycopy(right, 0, both, left.length, right.length);
        return both;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    static String secretOf(String dialect, String which) {
        String kind = switch (dialect) {
            case "standard-webhooks" -> "WHSEC";
            case "standard-webhooks-ed25519" -> "WHPK";
            default -> "TEXT";
        };
        return System.getenv(kind + "_" + which.toUpperCase(Locale.ROOT));
    }

    static void receive(HttpExchange exchange) throws IOException {
        int status = 200;
        String reason = "";
        try {
            byte[] body = exchange.getRequestBody().readAllBytes();
            String[] path = exchange.getRequestURI().getPath().split("/");
            if (!String.valueOf(exchange.getRequestHeaders().getFirst("Content-Type")).startsWith("application/json")) {
                throw new Refused("not JSON");
            }
            VERIFIERS.get(path[2]).verify(exchange.getRequestHeaders(), body, secretOf(path[2], path[3]));
        } catch (Refused refused) {
            status = 401;
            reason = refused.getMessage();
        } catch (Exception failure) {
            status = 500;
            reason = failure.toString();
        }
        byte[] answer = bytes(reason);
        exchange.sendResponseHeaders(status, answer.length == 0 ? -1 : answer.length);
        if (answer.length > 0) exchange.getResponseBody().write(answer);
        exchange.close();
    }

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/java/", Receiver::receive);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
        System.out.println("listening " + server.getAddress().getPort());
        System.in.readAllBytes();
        System.exit(0);
    }
}
