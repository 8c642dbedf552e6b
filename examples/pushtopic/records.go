package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/sfstream/sfstream-go/sfstream"
)

// create creates a record, and returns its id.
func create(ctx context.Context, client *sfstream.Client, object string, fields map[string]any) (id string, err error) {
	resp, err := send(ctx, client, http.MethodPost, "sobjects/"+object, fields)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	err = json.NewDecoder(resp.Body).Decode(&made)
	return made.ID, err
}

// update changes some fields of a record.
func update(ctx context.Context, client *sfstream.Client, object, id string, fields map[string]any) error {
	resp, err := send(ctx, client, http.MethodPatch, "sobjects/"+object+"/"+id, fields)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// remove deletes a record.
func remove(ctx context.Context, client *sfstream.Client, object, id string) error {
	resp, err := send(ctx, client, http.MethodDelete, "sobjects/"+object+"/"+id, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// send sends a request to the org. Where Salesforce refuses it the error is a *sfstream.ServerError.
func send(ctx context.Context, client *sfstream.Client, method, path string, fields map[string]any) (*http.Response, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if fields == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if fields != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return client.Do(req)
}
