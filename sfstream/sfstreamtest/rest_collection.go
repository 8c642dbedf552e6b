package sfstreamtest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// RefuseCollections(true) makes a record with a field that its object does not have, or with a
// value of a wrong type, fail the whole request of composite/sobjects with status 400, and nothing
// is carried out. By default it fails alone.
func (s *Server) RefuseCollections(on bool) { s.faults.toggle("RefuseCollections", atCollection, on) }

const (
	maxCollection = 200 // records
	maxChunks     = 10  // of records of one object
)

// createRecords creates records, or publishes platform events, of any objects.
func (s *Server) createRecords(r *http.Request) (int, any, error) { return s.collection(r, "CREATE") }

// updateRecords changes records of any objects.
func (s *Server) updateRecords(r *http.Request) (int, any, error) { return s.collection(r, "UPDATE") }

func (s *Server) collection(r *http.Request, kind string) (int, any, error) {
	var req struct {
		AllOrNone bool             `json:"allOrNone"`
		Records   []map[string]any `json:"records"`
	}
	if err := readBody(r, &req); err != nil {
		return 0, nil, err
	}
	writes := make([]write, len(req.Records))
	chunks := 0
	for i, rec := range req.Records {
		attributes, _ := rec["attributes"].(map[string]any)
		w := write{kind: kind, body: rec}
		w.object, _ = attributes["type"].(string)
		if kind == "UPDATE" {
			for name, v := range rec {
				if strings.EqualFold(name, "Id") {
					w.id, _ = v.(string)
					delete(rec, name)
				}
			}
		}
		if i == 0 || w.object != writes[i-1].object {
			chunks++
		}
		writes[i] = w
	}
	if chunks > maxChunks {
		return 0, nil, &restError{http.StatusBadRequest, fmt.Sprintf("Cannot have more than %d chunks in a single operation. "+
			"Please rearrange the data to reduce chunking.", maxChunks), "INVALID_OPERATION", nil}
	}
	return s.writeRecords(r, writes, req.AllOrNone)
}

// deleteRecords deletes the records that the request names by their ids alone.
func (s *Server) deleteRecords(r *http.Request) (int, any, error) {
	var writes []write
	for id := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
		w := write{kind: "DELETE", id: strings.TrimSpace(id)}
		w.object, _ = s.records.owner(w.id)
		writes = append(writes, w)
	}
	return s.writeRecords(r, writes, strings.EqualFold(r.URL.Query().Get("allOrNone"), "true"))
}

// writeRecords answers a request that writes several records with the result of each.
func (s *Server) writeRecords(r *http.Request, writes []write, allOrNone bool) (int, any, error) {
	if len(writes) > maxCollection {
		return 0, nil, &restError{http.StatusBadRequest,
			fmt.Sprintf("record limit reached. cannot submit more than %d records into this call", maxCollection), "EXCEEDED_ID_LIMIT", nil}
	}
	if s.faults.active(atCollection, "") {
		for _, w := range writes {
			if o, ok := s.writable(w.object); ok {
				if _, _, err := o.values(w.body); err != nil {
					return 0, nil, err
				}
			}
		}
	}
	done := s.carryOut(r, writes, allOrNone)
	for i := range done {
		if err := done[i].err; err != nil {
			done[i] = refused(writes[i], err)
		}
	}
	return http.StatusOK, done, nil
}

// refused returns the result of a write that has failed, as collections have it.
func refused(w write, err error) written {
	e, ok := errors.AsType[*restError](err)
	if !ok {
		e = &restError{Message: err.Error(), Code: "UNKNOWN_EXCEPTION"}
	}
	warning := restWarning{e.Code, e.Message, e.Fields}
	if e.Code == "NOT_FOUND" {
		warning.StatusCode, warning.Message = "INVALID_TYPE", fmt.Sprintf("sObject type '%s' is not supported.", w.object)
		if w.kind != "CREATE" {
			warning.StatusCode, warning.Message = "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"
		}
	}
	if warning.Fields == nil {
		warning.Fields = []string{}
	}
	return written{ID: w.id, Errors: []restWarning{warning}}
}

// writable returns an object, or a platform event, whose records requests write.
func (s *Server) writable(name string) (*sobject, bool) {
	if _, o, ok := s.eventObject(name); ok {
		return o, true
	}
	o, ok := s.sobject(name)
	return o, ok && s.systemObject(name) == nil && !o.event
}
