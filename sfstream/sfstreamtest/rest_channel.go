package sfstreamtest

import "strings"

// writeStreamingChannel makes a channel of generic streaming, or changes t. Under another name it
// has no subscribers: those of the old name stay there, and nothing comes any more.
func (s *Server) writeStreamingChannel(t *topic, values map[string]any, by author) (*topic, error) {
	name, _ := values["Name"].(string)
	from, description := "", ""
	if t != nil {
		description, _ = t.asRecord(s)["Description"].(string)
		if name == "" {
			name = t.name
		}
		if name != t.name {
			from = t.name
		}
	}
	if text, given := values["Description"]; given {
		description, _ = text.(string)
	}
	if t == nil {
		if err := s.roomFor(streamingChannels, len(s.channelsOf(streamingChannels))); err != nil {
			return nil, err
		}
	}
	if err := validGeneric(name); err != nil {
		return nil, badField(strings.TrimPrefix(err.Error(), "sfstreamtest: "), "Name")
	}
	if err := s.defineGeneric(name, description, from, by, true); err != nil {
		return nil, err
	}
	return s.topic(name), nil
}
