// All receivers of Go, on one port: /go/DIALECT/SECRET, where SECRET is `new` or `old`. 200: the request
// is accepted, 401: it is refused. Ends when standard input ends.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

func secretOf(dialect, which string) string {
	kind := "TEXT"
	switch dialect {
	case "standard-webhooks":
		kind = "WHSEC"
	case "standard-webhooks-ed25519":
		kind = "WHPK"
	}
	return os.Getenv(kind + "_" + strings.ToUpper(which))
}

func receive(response http.ResponseWriter, request *http.Request) {
	parts := strings.Split(strings.TrimPrefix(request.URL.Path, "/go/"), "/")
	verify, found := verifiers[parts[0]]
	if !found || len(parts) != 2 {
		http.NotFound(response, request)
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	if !strings.HasPrefix(request.Header.Get("Content-Type"), "application/json") {
		http.Error(response, "not JSON", http.StatusUnauthorized)
		return
	}
	if err := verify(request.Header, body, secretOf(parts[0], parts[1])); err != nil {
		http.Error(response, err.Error(), http.StatusUnauthorized)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening %d\n", listener.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("/go/", receive)
	go func() { panic(http.Serve(listener, nil)) }()
	io.Copy(io.Discard, os.Stdin)
}
