package sfstream

import (
	"context"
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

// newInbox makes the inbox of a client: what is between its links and its consumers.
func newInbox(cfg *config, fail func(error)) *inbox.Inbox[Message] {
	policies := map[AckPolicy]inbox.Policy{AckAuto: inbox.SettleOnNext, AckOnReceive: inbox.SettleOnHandOut, AckManual: inbox.SettleOnAck}
	return inbox.New(inbox.Config[Message]{
		Policy: policies[cfg.ack], Prefetch: cfg.prefetch, MaxCredit: maxCredit,
		ID:   func(m *Message) []byte { return m.ReplayID },
		Date: (*Message).Date,
		Log:  cfg.log,
		Save: func(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
			return saveMarkers(ctx, cfg.store, markers)
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

func recoverStore(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("it panicked: %v", r)
	}
}
