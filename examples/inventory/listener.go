package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// listenerName is the client id with which the listener writes. Change events repeat it.
const listenerName = "InventoryListener"

// recordID matches the ids of opportunities. Others are allowed to publish confirmations, too, and
// what they write becomes a part of a URL here.
var recordID = regexp.MustCompile(`^006[0-9A-Za-z]{12}([0-9A-Za-z]{3})?$`)

// listener is the side of Salesforce: it writes confirmed dates to the opportunities.
type listener struct{ client *sfstream.Client }

func (l listener) handle(ctx context.Context, msg *sfstream.Message) error {
	order, err := sfstream.Decode[NewOrderConfirmationEvent](msg)
	if err != nil || order.OpptyRecordId == nil || order.EstimatedDeliveryDate == nil {
		slog.Error("a confirmation lacks something", "id", msg.ID, "error", err)
		return nil
	}
	id, date := *order.OpptyRecordId, order.EstimatedDeliveryDate.Format(time.DateOnly)
	if !recordID.MatchString(id) {
		slog.Error("a confirmation is of no record", "id", msg.ID, "record", id)
		return nil
	}
	path := "sobjects/Opportunity/" + id
	// The confirmation comes again after a crash, of this program or of the app. The record itself
	// knows best whether the order is written.
	written, err := l.date(ctx, path)
	if err == nil && written == nil {
		err = l.write(ctx, path, date)
	}
	if server, ok := errors.AsType[*sfstream.ServerError](err); ok && server.Code == sfstream.NotFound {
		slog.Warn("the opportunity of an order is gone", "id", id)
		return nil
	}
	switch {
	case err != nil:
		return err
	case written != nil:
		fmt.Println("written before:", id)
	default:
		fmt.Println("delivered", id, "on", date)
	}
	return nil
}

// date reads the delivery date of an opportunity, nil if it has none.
func (l listener) date(ctx context.Context, path string) (*string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path+"?fields=EstimatedDeliveryDate__c", nil)
	if err != nil {
		return nil, err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var record struct {
		Date *string `json:"EstimatedDeliveryDate__c"`
	}
	err = json.NewDecoder(resp.Body).Decode(&record)
	return record.Date, err
}

// write writes the delivery date. The header makes the change known as ours.
func (l listener) write(ctx context.Context, path, date string) error {
	body := fmt.Sprintf(`{"EstimatedDeliveryDate__c": %q}`, date)
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sforce-Call-Options", "client="+listenerName)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
