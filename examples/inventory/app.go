package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// app is the warehouse: it hears of opportunities that are won, and confirms each as an order, with
// the date of its delivery.
type app struct{ client *sfstream.Client }

func (a app) handle(ctx context.Context, msg *sfstream.Message) error {
	change, err := msg.Change()
	if err != nil {
		slog.Error("an event cannot be read", "error", err) // and never will be: go on with the next
		return nil
	}
	if change.OriginClient() == listenerName {
		fmt.Println("skipped our own change of", change.RecordIDs)
		return nil
	}
	ids, err := a.won(ctx, msg, change)
	if err != nil || len(ids) == 0 {
		return err
	}
	var events []any
	for _, id := range ids {
		events = append(events, confirmation(id, change.CommitTime))
	}
	// Publish sends again what may pass, and what was not answered, until this is over.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := a.client.Publish(ctx, confirmations, events...); err != nil {
		return err
	}
	fmt.Println("ordered", ids)
	return nil
}

// won returns the opportunities that a change has made Closed Won. A transaction that does the same
// to several records is one event with all their ids.
func (a app) won(ctx context.Context, msg *sfstream.Message, change *sfstream.ChangeEvent) ([]string, error) {
	whole := slices.ContainsFunc(change.RecordIDs, func(id string) bool { return len(id) != 18 }) // 006*: all of them
	if change.IsGap() || whole {
		return a.wonSince(ctx, change)
	}
	if change.Type != sfstream.ChangeCreate && change.Type != sfstream.ChangeUpdate {
		return nil, nil
	}
	opportunity, err := sfstream.Decode[OpportunityChangeEvent](msg)
	if err != nil {
		slog.Error("an event cannot be read", "error", err)
		return nil, nil
	}
	// It has a stage if this change has set one: later changes of a won opportunity are no sale.
	if stage, set := opportunity.StageName.Get(); !set || stage != closedWon {
		return nil, nil
	}
	return change.RecordIDs, nil
}

// wonSince reads the records of which an event tells only that they have changed. Those that wait
// for a delivery date are won; whether that is news does not matter, because an order has one id.
func (a app) wonSince(ctx context.Context, change *sfstream.ChangeEvent) (ids []string, err error) {
	for record, err := range a.client.Refetch(ctx, change) {
		if err != nil {
			return nil, err
		}
		var opportunity struct {
			StageName string
			Date      *string `sf:"EstimatedDeliveryDate__c"`
		}
		if record.Deleted {
			continue
		}
		if err := record.Decode(&opportunity); err != nil {
			return nil, err
		}
		if opportunity.StageName == closedWon && opportunity.Date == nil {
			ids = append(ids, record.ID)
		}
	}
	return ids, nil
}

// confirmation is the event for an opportunity that was won at a time. All of it, the id too, comes
// of the opportunity alone: who gets it twice sees that it is the same.
func confirmation(id string, won time.Time) sfstream.Event {
	sum := sha256.Sum256([]byte("order of " + id))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // a UUID of version 8, which is for such
	date := deliveryDate(won)
	return sfstream.Event{
		ID:    fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		Value: NewOrderConfirmationEvent{OpptyRecordId: &id, EstimatedDeliveryDate: &date},
	}
}

// deliveryDate is five days later, and no day of a weekend.
func deliveryDate(won time.Time) time.Time {
	date := won.UTC().Truncate(24*time.Hour).AddDate(0, 0, 5)
	for date.Weekday() == time.Saturday || date.Weekday() == time.Sunday {
		date = date.AddDate(0, 0, 1)
	}
	return date
}
