package sfstreamtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// RecordType is a record type of an object, which a record names in RecordTypeId.
type RecordType struct {
	ID            string `json:"id"` // 18 characters that begin with 012; the org makes it
	Object        string `json:"object"`
	DeveloperName string `json:"developerName"`
	Inactive      bool   `json:"inactive,omitempty"`
}

// recordTypes has the org's record types, oldest first.
type recordTypes struct {
	mu  sync.Mutex
	all []RecordType
}

// DefineRecordType makes a record type of an object and returns its id, which begins with 012. The
// object has the field RecordTypeId from then on. One that exists becomes active again.
func (s *Server) DefineRecordType(object, developerName string) (id string, err error) {
	return s.keepRecordType(object, developerName, func(rt *RecordType) { rt.Inactive = false }, true)
}

// RenameRecordType gives a record type another developer name. Its id stays, and with it what
// records and PushTopics say.
func (s *Server) RenameRecordType(object, developerName, to string) error {
	if _, ok := s.recordType(object, to); ok || !developerNameForm.MatchString(to) {
		return fmt.Errorf("sfstreamtest: record type %s of %s: %q is there already, or no developer name", developerName, object, to)
	}
	_, err := s.keepRecordType(object, developerName, func(rt *RecordType) { rt.DeveloperName = to }, false)
	return err
}

// DeactivateRecordType makes a record type inactive: no record can be given it any more.
func (s *Server) DeactivateRecordType(object, developerName string) error {
	_, err := s.keepRecordType(object, developerName, func(rt *RecordType) { rt.Inactive = true }, false)
	return err
}

// RecordTypes returns the org's record types, oldest first.
func (s *Server) RecordTypes() []RecordType {
	s.recordTypes.mu.Lock()
	defer s.recordTypes.mu.Unlock()
	return slices.Clone(s.recordTypes.all)
}

// recordType returns a record type by its names, in any case.
func (s *Server) recordType(object, developerName string) (RecordType, bool) {
	for _, rt := range s.recordTypesOf(object) {
		if strings.EqualFold(rt.DeveloperName, developerName) {
			return rt, true
		}
	}
	return RecordType{}, false
}

// recordTypesOf returns the record types of an object.
func (s *Server) recordTypesOf(object string) []RecordType {
	return slices.DeleteFunc(s.RecordTypes(), func(rt RecordType) bool { return !strings.EqualFold(rt.Object, object) })
}

// keepRecordType changes a record type, a new one if there is none and create is set.
func (s *Server) keepRecordType(object, developerName string, change func(*RecordType), create bool) (id string, err error) {
	t := &s.recordTypes
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.all, func(rt RecordType) bool {
		return strings.EqualFold(rt.Object, object) && strings.EqualFold(rt.DeveloperName, developerName)
	})
	rt := RecordType{ID: longID(fmt.Sprintf("012%012d", len(t.all)+1)), Object: object, DeveloperName: developerName}
	switch {
	case i >= 0:
		rt = t.all[i]
	case !create:
		return "", fmt.Errorf("sfstreamtest: %s has no record type %s", object, developerName)
	case object == "" || !developerNameForm.MatchString(developerName):
		return "", fmt.Errorf("sfstreamtest: record type of %q: %q is no developer name", object, developerName)
	}
	change(&rt)
	text, err := json.Marshal(rt)
	if err == nil {
		err = s.journal.write(entry{Op: opRecordType, Channel: rt.Object, Schema: string(text)})
	}
	if err != nil {
		return "", err
	}
	t.setLocked(rt)
	return rt.ID, nil
}

func (t *recordTypes) setLocked(rt RecordType) {
	if i := slices.IndexFunc(t.all, func(known RecordType) bool { return known.ID == rt.ID }); i >= 0 {
		t.all[i] = rt
		return
	}
	t.all = append(t.all, rt)
}

// restore does again what a line of the log says.
func (t *recordTypes) restore(e entry) error {
	var rt RecordType
	if err := json.Unmarshal([]byte(e.Schema), &rt); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setLocked(rt)
	return nil
}

const recordTypeField = "RecordTypeId"

// withRecordType adds RecordTypeId to the fields of an object that has record types.
func (s *Server) withRecordType(o *sobject) *sobject {
	if _, known := o.field(recordTypeField); !known && !o.event && len(s.recordTypesOf(o.name)) > 0 {
		o.fields = append(o.fields, sobjectField{name: recordTypeField, typ: "reference"})
	}
	return o
}

// checkRecordType refuses a RecordTypeId that is no active record type of the object, and gives it
// its 18 characters.
func (s *Server) checkRecordType(object string, values map[string]any) error {
	id, given := values[recordTypeField].(string)
	if !given {
		return nil
	}
	for _, rt := range s.recordTypesOf(object) {
		if rt.ID == longID(id) && !rt.Inactive {
			values[recordTypeField] = rt.ID
			return nil
		}
	}
	return &restError{http.StatusBadRequest, "Record Type ID: this ID value isn't valid for the user: " + id,
		"INVALID_CROSS_REFERENCE_KEY", []string{recordTypeField}}
}

// recordTypeRows returns the record types as records.
func (s *Server) recordTypeRows() []map[string]any {
	var rows []map[string]any
	for _, rt := range s.RecordTypes() {
		rows = append(rows, map[string]any{
			"Id": rt.ID, "Name": strings.ReplaceAll(rt.DeveloperName, "_", " "), "DeveloperName": rt.DeveloperName,
			"SobjectType": rt.Object, "IsActive": !rt.Inactive,
		})
	}
	return rows
}

// describedRecordType is a record type as describe shows it.
type describedRecordType struct {
	Active        bool              `json:"active"`
	Available     bool              `json:"available"`
	Default       bool              `json:"defaultRecordTypeMapping"`
	DeveloperName string            `json:"developerName"`
	Master        bool              `json:"master"`
	Name          string            `json:"name"`
	ID            string            `json:"recordTypeId"`
	URLs          map[string]string `json:"urls"`
}

// describeRecordTypes returns the record types of an object. The last one is Master, which stands
// for records without any.
func (s *Server) describeRecordTypes(object, version string) []describedRecordType {
	list := []describedRecordType{}
	add := func(id, name, developerName string, active, master bool) {
		list = append(list, describedRecordType{
			Active: active, Available: active, Default: master, Master: master, ID: id, Name: name, DeveloperName: developerName,
			URLs: map[string]string{"layout": "/services/data/" + version + "/sobjects/" + object + "/describe/layouts/" + id},
		})
	}
	for _, rt := range s.recordTypesOf(object) {
		add(rt.ID, strings.ReplaceAll(rt.DeveloperName, "_", " "), rt.DeveloperName, !rt.Inactive, false)
	}
	add("012000000000000AAA", "Master", "Master", true, true)
	return list
}

type recordTypeRequest struct {
	Object        string `json:"object" about:"!such as Contact"`
	DeveloperName string `json:"developerName" about:"!such as Student"`
	RenameTo      string `json:"renameTo" about:"another developer name"`
	Active        *bool  `json:"active" about:"false: no record can be given it; default true"`
}

type recordTypeReply struct {
	ID            string `json:"id"`
	DeveloperName string `json:"developerName"`
}

func (s *Server) controlRecordType(_ context.Context, req recordTypeRequest) (recordTypeReply, error) {
	reply := recordTypeReply{DeveloperName: or(req.RenameTo, req.DeveloperName)}
	id, err := s.DefineRecordType(req.Object, req.DeveloperName)
	if err == nil && req.RenameTo != "" {
		err = s.RenameRecordType(req.Object, req.DeveloperName, req.RenameTo)
	}
	if err == nil && !isTrue(req.Active) {
		err = s.DeactivateRecordType(req.Object, reply.DeveloperName)
	}
	reply.ID = id
	return reply, err
}
