package main

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	probes "github.com/sfstream/sfstream-go/sfstream/health"
)

// health answers the probes. Until it knows of whom, all is well: the program is starting.
type health struct {
	status atomic.Pointer[func() sfstream.Status]
	server *http.Server // nil: nobody asks
	served sync.WaitGroup
}

func (p *proxy) serveHealth() (*health, error) {
	h := new(health)
	if p.health == "" {
		return h, nil
	}
	handler, err := probes.New(h.now)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", p.health)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, mistaken("-health %s: another program has this port", p.health)
	case err != nil:
		return nil, mistaken("-health %s: %v", p.health, err)
	}
	h.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	h.served.Go(func() { _ = h.server.Serve(listener) }) // it ends by stop, which waits for it
	return h, nil
}

func (h *health) of(status func() sfstream.Status) { h.status.Store(&status) }

func (h *health) now() sfstream.Status {
	if status := h.status.Load(); status != nil {
		return (*status)()
	}
	return sfstream.Status{}
}

func (h *health) stop() error {
	if h.server == nil {
		return nil
	}
	err := h.server.Close()
	h.served.Wait()
	return err
}
