package health_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/health"
)

func ExampleNew() {
	client, err := sfstream.New(authenticator.Static{})
	if err != nil {
		panic(err)
	}
	defer client.Close()
	probes, err := health.New(client.Status, sfstream.WithMaxLag(15*time.Minute))
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(probes) // in a program: http.ListenAndServe(":8080", probes)
	defer server.Close()
	for _, path := range []string{"/livez", "/readyz"} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		fmt.Println(path, resp.Status)
	}
	// Output:
	// /livez 200 OK
	// /readyz 503 Service Unavailable
}
