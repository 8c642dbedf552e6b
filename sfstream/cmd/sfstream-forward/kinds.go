package main

import (
	"context"
	"strings"
	"time"
)

// dialTimeout is how long an engine may take to answer a new connection.
const dialTimeout = 10 * time.Second

// A kind of queue or register: how its URL begins and looks, and how it is opened. Opening connects,
// as far as the engine's client can tell, and its errors name no secret.
type kind[T any] struct {
	scheme string
	form   string
	open   func(ctx context.Context, a address, p *proxy) (opened[T], error)
}

// opened is a queue or a register that is there.
type opened[T any] struct {
	it    T
	check func(ctx context.Context) error // asks whether it will do what is needed
	close func() error
}

type kinds[T any] []kind[T]

func (k kinds[T]) schemes() []string {
	var schemes []string
	for _, one := range k {
		schemes = append(schemes, one.scheme)
	}
	return schemes
}

func (k kinds[T]) forms() string {
	var forms []string
	for _, one := range k {
		forms = append(forms, one.form)
	}
	return strings.Join(forms, ", ")
}

// open opens what the address names, whose scheme is one of those of k.
func (k kinds[T]) open(ctx context.Context, a address, p *proxy) (opened[T], error) {
	for _, one := range k {
		if one.scheme == a.scheme {
			return one.open(ctx, a, p)
		}
	}
	return opened[T]{}, mistaken("-%s: no %s", a.name, a.scheme)
}
