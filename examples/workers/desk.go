package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
)

// order is an event of the channel.
type order struct {
	Customer string   `sf:"Customer__c"`
	Number   string   `sf:"Number__c"`
	Amount   *float64 `sf:"Amount__c"`
}

// A desk handles orders. All workers use it at once.
type desk struct {
	began  time.Time
	count  int    // how many orders there are to be; 0: no end
	enough func() // called when there were so many

	mu            sync.Mutex
	running, most int // handlers
	handled, dead int // orders
}

// handle works on an order. When it returns nil the order is handled, after any error it is not.
func (d *desk) handle(ctx context.Context, msg *sfstream.Message) error {
	order, err := sfstream.Decode[order](msg)
	if err != nil {
		return backoff.Permanent(err) // there is nothing to be gained by reading it again
	}
	others := d.begin()
	defer d.end()
	select {
	case <-time.After(50 * time.Millisecond): // the work
	case <-ctx.Done():
		return ctx.Err() // the program ends, and waits no longer: the order comes again
	}
	if order.Amount == nil {
		d.say("%s %s: it has no amount", order.Customer, order.Number)
		return errors.New("no amount")
	}
	d.say("%s %s: done, beside %d others", order.Customer, order.Number, others)
	d.settle(&d.handled)
	return nil
}

// deadLetter gets an order that is tried no more. The order counts as handled when it returns, so a
// service writes it to a table or a file here. What it prints is what sfstream publish takes.
func (d *desk) deadLetter(msg *sfstream.Message, reason error) {
	text, err := json.Marshal(msg)
	if err != nil { // nobody can read it; the bytes are those that Salesforce has sent
		text = fmt.Appendf(nil, "%x", msg.Raw())
	}
	d.say("dead letter (%v): %s", reason, text)
	d.settle(&d.dead)
}

func (d *desk) begin() (others int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running++
	d.most = max(d.most, d.running)
	return d.running - 1
}

func (d *desk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
}

func (d *desk) settle(counter *int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*counter++
	if d.handled+d.dead == d.count {
		d.enough()
	}
}

func (d *desk) say(format string, args ...any) {
	fmt.Printf("%.2f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
