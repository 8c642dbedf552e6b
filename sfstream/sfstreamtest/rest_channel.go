package sfstreamtest

import (
	"net/http"
	"slices"
	"strings"
)

// writeStreamingChannel makes a channel of generic streaming, or changes t. Under another name it
// has no subscribers: those of the old name stay there, and nothing comes any more.
func (s *Server) writeStreamingChannel(t *topic, values map[string]any, by author) (*topic, error) {
	name, _ := values["Name"].(string)
	from, told := "", genericTold{}
	if t != nil {
		told.description, _ = t.asRecord(s)["Description"].(string)
		if name == "" {
			name = t.name
		}
		if name != t.name {
			from = t.name
		}
	}
	if text, given := values["Description"]; given {
		told.description, _ = text.(string)
	}
	if id, given := values["OwnerId"]; given {
		owner, err := s.owner(id)
		if err != nil {
			return nil, err
		}
		told.owner = owner
	}
	if t == nil {
		if err := s.roomFor(streamingChannels, len(s.channelsOf(streamingChannels))); err != nil {
			return nil, err
		}
	}
	if err := validGeneric(name); err != nil {
		return nil, badField(inOwnWords(err), "Name")
	}
	if err := s.defineGeneric(name, from, told, by, true); err != nil {
		return nil, err
	}
	return s.topic(name), nil
}

// owner returns the 18 characters of the id of a user who is to own a record.
func (s *Server) owner(value any) (string, error) {
	id, _ := value.(string)
	code, message := "INVALID_CROSS_REFERENCE_KEY", "Owner ID: this ID value isn't valid for the user: "+id
	switch isUser := func(row map[string]any) bool { return row["Id"] == longID(id) }; {
	case slices.ContainsFunc(s.systemRows("User"), isUser):
		return longID(id), nil
	case id == "":
		message = "Owner ID: owner cannot be blank"
	case len(id) != 15 && len(id) != 18 || !strings.HasPrefix(id, "005"):
		code, message = "MALFORMED_ID", "Owner ID: id value of incorrect type: "+id
	}
	return "", &restError{http.StatusBadRequest, message, code, []string{"OwnerId"}}
}
