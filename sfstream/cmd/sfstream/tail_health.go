package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/health"
)

// serveHealth answers the probes /livez and /readyz about a client at an address, until stop.
func serveHealth(address string, client *sfstream.Client) (stop func() error, err error) {
	probes, err := health.New(client.Status)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("-health %s: another program has this port; choose another one", address)
	case err != nil:
		return nil, fmt.Errorf("-health %s: %w; it must be an address of this computer, as :8080", address, err)
	}
	server := &http.Server{Handler: probes, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // it ends by stop, which waits for it
	return func() error {
		err := server.Close()
		serving.Wait()
		return err
	}, nil
}
