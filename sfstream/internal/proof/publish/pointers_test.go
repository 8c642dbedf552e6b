package publish

import (
	"errors"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
)

// endless is a pointer that can point to itself.
type endless *endless

func TestAPointerToItselfIsNoEvent(t *testing.T) {
	var p endless
	p = &p
	b := newBus(t)
	if _, err := b.client().Publish(t.Context(), channel, p); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("Publish: %v", err)
	}
	if got := b.batches(); got != nil {
		t.Errorf("requests of %d events were sent", got)
	}
}
