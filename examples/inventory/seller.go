package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// seller is a sales department: it changes opportunities over REST.
type seller struct {
	client  *sfstream.Client
	changes int // the change events that come of it
}

// sell wins as many opportunities as there are to be orders, the last two of them in one
// transaction, and loses one.
func (s *seller) sell(ctx context.Context, orders int) error {
	lost, err := s.create(ctx, "A lost one")
	if err != nil {
		return err
	}
	if err := s.change(ctx, map[string]any{"StageName": "Closed Lost"}, lost); err != nil {
		return err
	}
	for n := 1; n <= orders; n++ {
		id, err := s.create(ctx, fmt.Sprint("Opportunity ", n))
		if err != nil {
			return err
		}
		ids := []string{id}
		if n == orders-1 {
			second, err := s.create(ctx, fmt.Sprint("Opportunity ", orders))
			if err != nil {
				return err
			}
			ids, n = append(ids, second), orders
		}
		if err := s.change(ctx, map[string]any{"StageName": closedWon}, ids...); err != nil {
			return err
		}
		say("sales: won %v", ids)
		// A change of an opportunity that is won already is no second sale.
		if err := s.change(ctx, map[string]any{"Amount": 1000 * n}, id); err != nil {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (s *seller) create(ctx context.Context, name string) (id string, err error) {
	var created struct {
		ID string `json:"id"`
	}
	err = s.do(ctx, http.MethodPost, "sobjects/Opportunity", map[string]any{
		"Name": name, "StageName": "Prospecting", "CloseDate": "2027-03-31",
	}, &created)
	return created.ID, err
}

// change changes fields of opportunities in one transaction, which is one change event.
func (s *seller) change(ctx context.Context, set map[string]any, ids ...string) error {
	var records []map[string]any
	for _, id := range ids {
		record := map[string]any{"attributes": map[string]string{"type": "Opportunity"}, "id": id}
		for name, value := range set {
			record[name] = value
		}
		records = append(records, record)
	}
	var results []struct {
		Success bool            `json:"success"`
		Errors  json.RawMessage `json:"errors"`
	}
	if err := s.do(ctx, http.MethodPatch, "composite/sobjects", map[string]any{"allOrNone": true, "records": records}, &results); err != nil {
		return err
	}
	for _, result := range results {
		if !result.Success {
			return fmt.Errorf("changing %v: %s", ids, result.Errors)
		}
	}
	return nil
}

func (s *seller) do(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.changes++
	return json.NewDecoder(resp.Body).Decode(answer)
}
