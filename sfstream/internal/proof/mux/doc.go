// Package mux holds tests of handlers that are declared: Mux, On, Serve and middleware.
package mux
