package lab

import (
	"io"
	"net/http"
)

// Nowhere is HTTP without a network: nobody can be asked for the time.
var Nowhere = &http.Client{Transport: noNetwork{}}

type noNetwork struct{}

// RoundTrip fails.
func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// RoundTrip is an HTTP transport made of a function.
type RoundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
