package sfstreamtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// channelObject is the object of the Tooling API that custom channels are, of change events
// (/data/X__chn) and of platform events (/event/X__chn). The standard channel ChangeEvents is none.
const channelObject = "PlatformEventChannel"

var channelFields = append(slices.Clone(toolingFields),
	sobjectField{name: "ChannelType", typ: "picklist"}, sobjectField{name: "EventType", typ: "picklist"})

// customSuffix ends the name of a custom channel.
const customSuffix = "__chn"

// maxCustomChannels is how many custom channels of each type an org can have.
const maxCustomChannels = 100

// customChannel is a custom channel as its record shows it.
type customChannel struct {
	topic *topic
	id    string
	kind  string // data or event
	name  string // X__chn
	label string
}

// channelMetadata is the Metadata of a custom channel.
type channelMetadata struct {
	ChannelType *string `json:"channelType"`
	EventType   *string `json:"eventType"`
	Label       *string `json:"label"`
}

// customChannels returns the org's custom channels, oldest first.
func (s *Server) customChannels() []customChannel {
	var all []customChannel
	for _, t := range s.matching("") {
		kind, name, _ := strings.Cut(strings.TrimPrefix(t.name, "/"), "/")
		t.mu.Lock()
		if t.multi && strings.HasSuffix(name, customSuffix) {
			id := longID(fmt.Sprintf("0YL%06d%06d", t.removals, t.serial))
			all = append(all, customChannel{t, id, kind, name, or(t.label, strings.TrimSuffix(name, customSuffix))})
		}
		t.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b customChannel) int { return cmp.Compare(a.topic.serial, b.topic.serial) })
	return all
}

// customChannelNamed returns a custom channel by its name, X__chn, in any case.
func (s *Server) customChannelNamed(name string) (customChannel, bool) {
	return s.customChannel(func(c customChannel) bool { return strings.EqualFold(c.name, name) })
}

func (s *Server) customChannel(match func(customChannel) bool) (customChannel, bool) {
	all := s.customChannels()
	if i := slices.IndexFunc(all, match); i >= 0 {
		return all[i], true
	}
	return customChannel{}, false
}

func (s *Server) customChannelRows() []map[string]any {
	var rows []map[string]any
	for _, c := range s.customChannels() {
		rows = append(rows, map[string]any{
			"Id": c.id, "DeveloperName": strings.TrimSuffix(c.name, customSuffix), "FullName": c.name, "MasterLabel": c.label,
			"ChannelType": c.kind, "Language": "en_US", "ManageableState": "unmanaged",
			"Metadata": channelMetadata{ChannelType: &c.kind, Label: &c.label},
		})
	}
	return rows
}

// customName is the name of a custom channel without its suffix: no two underscores in a row, and
// none at the end.
var customName = regexp.MustCompile(`^[A-Za-z](_?[A-Za-z0-9])*$`)

// createCustomChannel makes a custom channel that has no members yet.
func (s *Server) createCustomChannel(fullName string, metadata json.RawMessage) (id string, err error) {
	var m channelMetadata
	if err := decodeStrictly(metadata, channelObject, &m); err != nil {
		return "", err
	}
	name, custom := strings.CutSuffix(fullName, customSuffix)
	switch {
	case m.ChannelType == nil:
		return "", missing([]string{"channelType"}, nil, true)
	case m.Label == nil || *m.Label == "":
		return "", missing([]string{"label"}, nil, true)
	case *m.ChannelType != "data" && *m.ChannelType != "event":
		return "", badChoice("Channel Type", *m.ChannelType, "ChannelType")
	case !custom || !customName.MatchString(name):
		return "", integrity("FullName", "The name of a custom channel can contain only underscores and alphanumeric characters, and ends with __chn: %s", fullName)
	case len(name) > 80:
		return "", tooLong("Developer Name", name, 80, "DeveloperName")
	case utf8.RuneCountInString(*m.Label) > 80:
		return "", tooLong("Label", *m.Label, 80, "MasterLabel")
	}
	if _, taken := s.customChannelNamed(fullName); taken {
		return "", &restError{http.StatusBadRequest, "The developer name is already in use by another channel: " + fullName,
			"DUPLICATE_DEVELOPER_NAME", []string{"DeveloperName"}}
	}
	have := 0
	for _, c := range s.customChannels() {
		if c.kind == *m.ChannelType {
			have++
		}
	}
	if have >= maxCustomChannels {
		return "", limitExceeded("custom channels of type "+*m.ChannelType, maxCustomChannels)
	}
	channel := "/" + *m.ChannelType + "/" + fullName
	if err := s.DefineChannel(channel); err != nil {
		return "", err
	}
	if err := s.labelChannel(s.topic(channel), *m.Label); err != nil {
		return "", err
	}
	c, _ := s.customChannelNamed(fullName)
	return c.id, nil
}

func (s *Server) labelChannel(t *topic, label string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := s.journal.write(entry{Op: opLabel, Channel: t.name, ID: label}); err != nil {
		return err
	}
	t.label = label
	return nil
}

// updateCustomChannel gives a channel another label. Its type cannot be changed.
func (s *Server) updateCustomChannel(id string, metadata json.RawMessage) error {
	var m channelMetadata
	if err := decodeStrictly(metadata, channelObject, &m); err != nil {
		return err
	}
	c, _ := s.customChannel(func(c customChannel) bool { return c.id == id })
	switch {
	case m.ChannelType != nil && *m.ChannelType != c.kind:
		return integrity("ChannelType", "You can't change the channel type of a channel after it is created")
	case m.Label == nil || *m.Label == "":
		return missing([]string{"label"}, nil, true)
	case utf8.RuneCountInString(*m.Label) > 80:
		return tooLong("Label", *m.Label, 80, "MasterLabel")
	}
	return s.labelChannel(c.topic, *m.Label)
}

// deleteCustomChannel deletes a channel with all its members and ends the streams on it.
func (s *Server) deleteCustomChannel(id string) error {
	c, _ := s.customChannel(func(c customChannel) bool { return c.id == id })
	return s.Remove(c.topic.name)
}
