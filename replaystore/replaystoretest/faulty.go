package replaystoretest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// ErrLost is the error of a call of a [Faulty] register whose caller has given up.
var ErrLost = errors.New("replaystoretest: no reply")

// Faulty is a register behind a network that goes wrong as Plan says. It must not be copied.
type Faulty struct {
	Register replaystore.Register

	// Plan returns what goes wrong with a call; nil: nothing. It is called from the goroutines of
	// the callers.
	Plan func(call Call) Fault

	late sync.WaitGroup
}

// Call is one call of a [Faulty] register.
type Call struct {
	Put   bool // else it is a Get
	Key   string
	Value []byte // of a Put
	Rev   string // of a Put
}

// Fault is what goes wrong with one call. Its zero value is a call that goes well and takes no
// time. The network does not know of the caller's patience: a request with Out of 5 seconds and
// GiveUp of one is told as lost, and is carried out 4 seconds later.
type Fault struct {
	Out         time.Duration // how long the request is on its way
	Back        time.Duration // how long the reply is
	RequestLost bool          // it is not carried out
	ReplyLost   bool          // it is, and nobody hears of it
	GiveUp      time.Duration // when the caller gets [ErrLost] without a reply; 0: only its ctx ends the call
}

// Get implements [replaystore.Register].
func (f *Faulty) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	reply, err := call(ctx, f, Call{Key: key}, func(ctx context.Context) (r getReply, err error) {
		r.value, r.rev, err = f.Register.Get(ctx, key)
		return r, err
	})
	return reply.value, reply.rev, err
}

type getReply struct {
	value []byte
	rev   string
}

// Put implements [replaystore.Register].
func (f *Faulty) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	value = bytes.Clone(value) // the caller may reuse it before a late put
	return call(ctx, f, Call{Put: true, Key: key, Value: value, Rev: rev}, func(ctx context.Context) (string, error) {
		return f.Register.Put(ctx, key, value, rev)
	})
}

// Wait waits until no request is on its way any more.
func (f *Faulty) Wait() { f.late.Wait() }

type reply[T any] struct {
	value T
	err   error
}

func call[T any](ctx context.Context, f *Faulty, c Call, do func(context.Context) (T, error)) (T, error) {
	var fault, none Fault
	if f.Plan != nil {
		fault = f.Plan(c)
	}
	if fault == none {
		return do(ctx)
	}
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	replies := make(chan reply[T], 1)
	if !fault.RequestLost {
		f.late.Go(func() {
			time.Sleep(fault.Out)
			value, err := do(context.WithoutCancel(ctx))
			if !fault.ReplyLost {
				time.Sleep(fault.Back)
				replies <- reply[T]{value, err}
			}
		})
	}
	var giveUp <-chan time.Time
	if fault.GiveUp > 0 {
		giveUp = time.After(fault.GiveUp)
	}
	select {
	case r := <-replies:
		return r.value, r.err
	case <-giveUp:
		return zero, ErrLost
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}
