package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const tolerance = 5 * time.Minute

var errSignature = errors.New("wrong signature")

// A verifier says what the receivers of a dialect check, written from its description. It knows one
// secret.
type verifier func(headers http.Header, body []byte, secret string) error

var verifiers = map[string]verifier{
	"cost-katana": func(headers http.Header, body []byte, secret string) error {
		if err := present(headers, "X-CostKatana-Event-Id", "X-CostKatana-Webhook-Id"); err != nil {
			return err
		}
		return stamped(headers, "X-CostKatana-Timestamp", time.Millisecond, "", ".", body, secret,
			"X-CostKatana-Signature", "sha256=", "CostKatana-Webhook/1.0")
	},
	"ops-center": func(headers http.Header, body []byte, secret string) error {
		if err := present(headers, "X-Webhook-Event"); err != nil {
			return err
		}
		if err := is(headers, "User-Agent", "Ops-Center-Webhook/1.0"); err != nil {
			return err
		}
		return signed(hex.EncodeToString(mac([]byte(secret), body)), headers.Get("X-Webhook-Signature"))
	},
	"llm-optimizer": func(headers http.Header, body []byte, secret string) error {
		if err := present(headers, "X-Webhook-Event-Type", "X-Webhook-Event-Id"); err != nil {
			return err
		}
		if err := is(headers, "X-Webhook-Algorithm", "sha256"); err != nil {
			return err
		}
		return stamped(headers, "X-Webhook-Timestamp", time.Millisecond, "", ".", body, secret,
			"X-Webhook-Signature", "", "LLM-Auto-Optimizer-Webhook/1.0")
	},
	"dcision": func(headers http.Header, body []byte, secret string) error {
		return stamped(headers, "X-DcisionAI-Timestamp", time.Second, "", ".", body, secret,
			"X-DcisionAI-Signature", "", "")
	},
	"slack": func(headers http.Header, body []byte, secret string) error {
		return stamped(headers, "X-Slack-Request-Timestamp", time.Second, "v0:", ":", body, secret,
			"X-Slack-Signature", "v0=", "")
	},
	"github": func(headers http.Header, body []byte, secret string) error {
		if err := present(headers, "X-GitHub-Event", "X-GitHub-Delivery"); err != nil {
			return err
		}
		wanted := "sha256=" + hex.EncodeToString(mac([]byte(secret), body))
		return signed(wanted, headers.Get("X-Hub-Signature-256"))
	},
	"shopify": func(headers http.Header, body []byte, secret string) error {
		err := present(headers, "X-Shopify-Topic", "X-Shopify-Webhook-Id", "X-Shopify-Shop-Domain", "X-Shopify-API-Version")
		if err != nil {
			return err
		}
		wanted := base64.StdEncoding.EncodeToString(mac([]byte(secret), body))
		return signed(wanted, headers.Get("X-Shopify-Hmac-Sha256"))
	},
	"stripe": func(headers http.Header, body []byte, secret string) error {
		var timestamp string
		var given []string
		for _, entry := range strings.Split(headers.Get("Stripe-Signature"), ",") {
			name, value, _ := strings.Cut(entry, "=")
			switch name {
			case "t":
				timestamp = value
			case "v1":
				given = append(given, value)
			}
		}
		if err := near(timestamp, time.Second); err != nil {
			return err
		}
		return signed(hex.EncodeToString(mac([]byte(secret), []byte(timestamp+"."), body)), given...)
	},
	"standard-webhooks": func(headers http.Header, body []byte, secret string) error {
		start, entries, err := standard(headers)
		if err != nil {
			return err
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			return err
		}
		return signed("v1,"+base64.StdEncoding.EncodeToString(mac(key, []byte(start), body)), entries...)
	},
	"standard-webhooks-ed25519": func(headers http.Header, body []byte, secret string) error {
		start, entries, err := standard(headers)
		if err != nil {
			return err
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whpk_"))
		if err != nil {
			return err
		}
		message := append([]byte(start), body...)
		for _, entry := range entries {
			version, encoded, _ := strings.Cut(entry, ",")
			signature, err := base64.StdEncoding.DecodeString(encoded)
			if err == nil && version == "v1a" && ed25519.Verify(ed25519.PublicKey(key), message, signature) {
				return nil
			}
		}
		return errSignature
	},
}

func standard(headers http.Header) (start string, entries []string, err error) {
	if err := present(headers, "Webhook-Id", "Webhook-Signature"); err != nil {
		return "", nil, err
	}
	timestamp := headers.Get("Webhook-Timestamp")
	if err := near(timestamp, time.Second); err != nil {
		return "", nil, err
	}
	start = headers.Get("Webhook-Id") + "." + timestamp + "."
	return start, strings.Split(headers.Get("Webhook-Signature"), " "), nil
}

// stamped judges a signature in hex over BEFORE, timestamp, AFTER and body.
func stamped(headers http.Header, stamp string, unit time.Duration, before, after string, body []byte,
	secret, header, prefix, agent string) error {
	if agent != "" {
		if err := is(headers, "User-Agent", agent); err != nil {
			return err
		}
	}
	timestamp := headers.Get(stamp)
	if err := near(timestamp, unit); err != nil {
		return err
	}
	wanted := prefix + hex.EncodeToString(mac([]byte(secret), []byte(before+timestamp+after), body))
	return signed(wanted, headers.Get(header))
}

func mac(key []byte, parts ...[]byte) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write(bytes.Join(parts, nil))
	return hash.Sum(nil)
}

func signed(wanted string, given ...string) error {
	for _, one := range given {
		if hmac.Equal([]byte(wanted), []byte(one)) {
			return nil
		}
	}
	return errSignature
}

func present(headers http.Header, names ...string) error {
	for _, name := range names {
		if headers.Get(name) == "" {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

func is(headers http.Header, name, wanted string) error {
	if headers.Get(name) != wanted {
		return fmt.Errorf("%s is %q", name, headers.Get(name))
	}
	return nil
}

// near refuses a timestamp that is too far from now, both ways.
func near(text string, unit time.Duration) error {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("no timestamp: %q", text)
	}
	apart := time.Since(time.UnixMilli(number * unit.Milliseconds()))
	if apart > tolerance || apart < -tolerance {
		return errors.New("timestamp out of tolerance")
	}
	return nil
}
