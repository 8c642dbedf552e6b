package sfstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

// lastSaves is what the end of a loop, Unsubscribe and Subscribe wait for a Save.
const lastSaves = 5 * time.Second

// slab is what a session brings at once, and slot the place of a message in it.
type (
	slab = inbox.Slab[Message]
	slot = inbox.Slot[Message]
)

// newInbox makes the inbox of a client: what is between its links and its consumers. It saves
// nothing once held has ended.
func newInbox(cfg *config, held context.Context, fail func(error)) *inbox.Inbox[Message] {
	policies := map[AckPolicy]inbox.Policy{AckAuto: inbox.SettleOnNext, AckOnReceive: inbox.SettleOnHandOut, AckManual: inbox.SettleOnAck}
	return inbox.New(inbox.Config[Message]{
		Policy: policies[cfg.ack], Prefetch: cfg.prefetch, MaxCredit: maxCredit,
		ID:   func(m *Message) []byte { return m.ReplayID },
		Date: (*Message).Date,
		Log:  cfg.log,
		Held: held,
		Save: func(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
			return saveMarkers(ctx, cfg.store, markers)
		},
		Advance: func(ctx context.Context, key replaystore.Key, before, after replaystore.Marker) (replaystore.Advance, error) {
			return advanceMarker(ctx, cfg.store, key, before, after, fail)
		},
		Saved:  cfg.hooks.OnSaved,
		Broken: func(err error) { fail(notSaved(err)) },
	})
}

// notSaved is the error of markers that could not be saved, nil where err is.
func notSaved(err error) error {
	if err == nil {
		return nil
	}
	return &StoreError{Op: "save", err: err}
}

// saveMarkers and loadMarker call a store. A panic of a store that is the program's own counts as
// its error: it happens on a goroutine of ours, where nobody else could recover.
func saveMarkers(ctx context.Context, store replaystore.Store, markers map[replaystore.Key]replaystore.Marker) (err error) {
	defer recoverStore(&err)
	return store.Save(ctx, markers)
}

func loadMarker(ctx context.Context, store replaystore.Store, key replaystore.Key) (marker replaystore.Marker, err error) {
	defer recoverStore(&err)
	return store.Load(ctx, key)
}

// advanceMarker asks a store for the step of a marker. Where the channel turns out to be another
// process's, now or within the transaction that makes the step, the client fails.
func advanceMarker(ctx context.Context, store replaystore.Store, key replaystore.Key, before, after replaystore.Marker, fail func(error)) (replaystore.Advance, error) {
	advancer, ok := store.(replaystore.Advancer)
	if !ok {
		return replaystore.Advance{}, fmt.Errorf("%w: Advance: no transaction can write a marker of the client's store: give WithReplayStore one of replaystore.FromRegister, or use package cluster", ErrInvalidOption)
	}
	failed := func(err error) error {
		if err = (&StoreError{Op: "advance", Channel: key.Channel, err: err}); errors.Is(err, replaystore.ErrConflict) {
			fail(err)
		}
		return err
	}
	advance, err := func() (advance replaystore.Advance, err error) {
		defer recoverStore(&err)
		return advancer.Advance(ctx, key, before, after)
	}()
	if err != nil {
		return replaystore.Advance{}, failed(err)
	}
	next := advance.Next
	advance.Next = func(stored []byte) ([]byte, error) {
		value, err := next(stored)
		if err != nil && !errors.Is(err, replaystore.ErrHandled) {
			return nil, failed(err)
		}
		return value, err
	}
	return advance, nil
}

// storeHeld asks a Fenced store whether it is still this process's.
func storeHeld(fence replaystore.Fenced) error {
	err := func() (err error) {
		defer recoverStore(&err)
		return fence.Held()
	}()
	if err == nil {
		return nil // without an allocation
	}
	return &StoreError{Op: "hold", err: err}
}

// errLost is the end of a client whose store is lost and does not say why.
var errLost error = &StoreError{Op: "hold", err: errors.New("the store says that it is lost")}

func recoverStore(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("it panicked: %v", r)
	}
}
