package channels

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/near"
)

// An SObjectOption says more about the PushTopic of an object: see [PushTopics.ForSObject].
type SObjectOption func(*sobjectTopic) error

// sobjectTopic is what is said about the PushTopic of an object.
type sobjectTopic struct {
	sobject     string
	recordType  string   // developer name; empty: any
	fields      []string // empty: the object's name, and who has modified it when
	excludeSelf bool
	topic       PushTopic // without Query
	subscribe   []sfstream.SubscribeOption
}

var apiName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// RecordType selects the records of one record type, by its developer name. Its id is in the query,
// so that a topic goes on where the record type is renamed. A service whose RecordType is renamed
// while it is down keeps the topic that it has, and the client's log has a warning with the new
// developer name.
func RecordType(developerName string) SObjectOption {
	return func(s *sobjectTopic) error {
		if !apiName.MatchString(developerName) {
			return fmt.Errorf("%w: RecordType: %.80q is no developer name: want what Setup calls Record Type Name, as Student_Record", sfstream.ErrInvalidOption, developerName)
		}
		s.recordType = developerName
		return nil
	}
}

// ExcludeCurrentUser leaves out what the client's own user has changed last, so that a service does
// not hear itself. The user's id is in the query: services with other users need a [Name] each, or
// each start of one takes the topic from the others. By default the own changes come, too.
func ExcludeCurrentUser() SObjectOption {
	return func(s *sobjectTopic) error {
		s.excludeSelf = true
		return nil
	}
}

// Fields sets which fields an event has, beside Id. The default is the object's name (Name, or
// CaseNumber and the like), LastModifiedById and LastModifiedDate, as far as the object has them.
func Fields(names ...string) SObjectOption {
	return func(s *sobjectTopic) error {
		for _, name := range names {
			switch {
			case strings.Contains(name, "."):
				return fmt.Errorf("%w: Fields: %.80q: a PushTopic has no fields of a relationship: take the id", sfstream.ErrInvalidOption, name)
			case !apiName.MatchString(name):
				return fmt.Errorf("%w: Fields: %.80q is no name of a field", sfstream.ErrInvalidOption, name)
			}
		}
		s.fields = append(s.fields, names...)
		return nil
	}
}

// Name sets the name of the topic. The default is that of the object and the developer name of the
// record type as they are written here, such as ContactStudent, which may be too long.
func Name(name string) SObjectOption {
	return func(s *sobjectTopic) error {
		s.topic.Name = name
		return checkTopicName(name)
	}
}

// Description sets the topic's description.
func Description(text string) SObjectOption {
	return func(s *sobjectTopic) error {
		s.topic.Description = text
		return nil
	}
}

// NotifyFor sets for changes of which fields there are events. The default is [All], because those
// that are selected by default say little about what a service wants to know.
func NotifyFor(fields NotifyForFields) SObjectOption {
	return func(s *sobjectTopic) error {
		s.topic.NotifyForFields = fields
		return nil
	}
}

// NotifyOn sets for which operations there are events, as in NotifyOn(Create|Update). The default is
// all.
func NotifyOn(operations Operations) SObjectOption {
	return func(s *sobjectTopic) error {
		s.topic.Operations = operations
		return nil
	}
}

// SubscribeWith gives [HandleSObject] options of the subscription, as sfstream.From.
func SubscribeWith(opts ...sfstream.SubscribeOption) SObjectOption {
	return func(s *sobjectTopic) error {
		s.subscribe = append(s.subscribe, opts...)
		return nil
	}
}

// newSObjectTopic refuses what can be seen to be wrong without the org.
func newSObjectTopic(sobject string, opts []SObjectOption) (*sobjectTopic, error) {
	if !apiName.MatchString(sobject) {
		return nil, fmt.Errorf("%w: %.80q is no name of an object", sfstream.ErrInvalidOption, sobject)
	}
	s := &sobjectTopic{sobject: sobject, topic: PushTopic{NotifyForFields: All}}
	for _, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("%w: %s: an option is nil", sfstream.ErrInvalidOption, sobject)
		}
		if err := opt(s); err != nil {
			return nil, fmt.Errorf("%w (%s)", err, sobject) // a mux may have several
		}
	}
	s.topic.Name = cmp.Or(s.topic.Name, sobject+s.recordType)
	if err := checkTopicName(s.topic.Name); err != nil {
		return nil, fmt.Errorf("%w: give another one with Name", err)
	}
	topic := s.topic // with a query of the same form
	topic.Query = "SELECT Id, " + cmp.Or(strings.Join(s.fields, ", "), "Name") + " FROM " + sobject
	if s.recordType != "" || s.excludeSelf {
		topic.Query += " WHERE Name != null"
	}
	return s, topic.check()
}

// ForSObject returns the PushTopic of the changes of an object's records, which [PushTopics.Declare]
// makes. It asks the org which fields the object has, and for the ids of the record type and of the
// user where these are wanted:
//
//	topic, err := topics.ForSObject(ctx, "Contact", channels.RecordType("Student"), channels.ExcludeCurrentUser())
//
// has the Name ContactStudent and the Query
//
//	SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Contact
//	WHERE RecordTypeId = '012…' AND LastModifiedById != '005…'
//
// The error is [sfstream.ErrInvalidOption] for what cannot be, before anything is sent;
// [ErrNotFound] for an object, a field or a record type that the org does not have, or not for the
// user, with those that it has; else one of [sfstream.Client.Do].
func (p *PushTopics) ForSObject(ctx context.Context, sobject string, opts ...SObjectOption) (PushTopic, error) {
	s, err := newSObjectTopic(sobject, opts)
	if err != nil {
		return PushTopic{}, err
	}
	return p.forSObject(ctx, s)
}

// forSObject is ForSObject once it is known what is said.
func (p *PushTopics) forSObject(ctx context.Context, s *sobjectTopic) (PushTopic, error) {
	topic, err := p.build(ctx, s)
	if err != nil {
		return PushTopic{}, s.topic.failed(err)
	}
	return topic, topic.check() // the query may be too long
}

// build asks the org for what the query of an object's topic needs.
func (p *PushTopics) build(ctx context.Context, s *sobjectTopic) (PushTopic, error) {
	var object sobjectDescription
	_, err := p.rest.get(ctx, "sobjects/"+s.sobject+"/describe", nil, &object)
	if err == nil && (object.Name == "" || !object.has("Id")) {
		err = fmt.Errorf("describe: %w: it names no object, or not its fields", errUnread)
	}
	if err != nil {
		return PushTopic{}, err
	}
	fields, err := object.selection(s.fields)
	if err != nil {
		return PushTopic{}, err
	}
	var conditions []string
	if s.recordType != "" {
		id, err := p.recordTypeID(ctx, object.Name, s)
		if err != nil {
			return PushTopic{}, err
		}
		conditions = append(conditions, "RecordTypeId = "+quote(id))
	}
	if s.excludeSelf {
		id, err := p.userID(ctx)
		if err == nil && !object.has("LastModifiedById") {
			err = fmt.Errorf("ExcludeCurrentUser: %w: %s.LastModifiedById, which the user may not see or the object does not have", ErrNotFound, object.Name)
		}
		if err != nil {
			return PushTopic{}, err
		}
		conditions = append(conditions, "LastModifiedById != "+quote(id))
	}
	topic := s.topic
	topic.Query = "SELECT " + strings.Join(fields, ", ") + " FROM " + object.Name
	if conditions != nil {
		topic.Query += " WHERE " + strings.Join(conditions, " AND ")
	}
	return topic, nil
}

// sobjectDescription is a describe of an object.
type sobjectDescription struct {
	Name   string `json:"name"`
	Fields []struct {
		Name      string `json:"name"`
		NameField bool   `json:"nameField"`
	} `json:"fields"`
}

// find returns a field as the org spells it; empty if the object has none of that name.
func (d *sobjectDescription) find(name string) string {
	for _, f := range d.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Name
		}
	}
	return ""
}

func (d *sobjectDescription) has(name string) bool { return d.find(name) != "" }

// selection returns what to select: the fields that are wanted, else those that tell most of any
// object.
func (d *sobjectDescription) selection(wanted []string) ([]string, error) {
	usual := len(wanted) == 0
	if usual {
		wanted = []string{"Name", "LastModifiedById", "LastModifiedDate"}
		for _, f := range d.Fields {
			if f.NameField {
				wanted[0] = f.Name
			}
		}
	}
	selection := []string{"Id"}
	for _, name := range wanted {
		field := d.find(name)
		switch {
		case field == "" && !usual:
			return nil, fmt.Errorf("Fields: %w: %s.%s%s", ErrNotFound, d.Name, name, d.near(name))
		case field != "" && !slices.Contains(selection, field):
			selection = append(selection, field)
		}
	}
	return selection, nil
}

// near says which field may be meant: that with a namespace, or another spelling.
func (d *sobjectDescription) near(name string) string {
	names := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		if names[i] = f.Name; strings.HasSuffix(strings.ToLower(f.Name), "__"+strings.ToLower(name)) {
			return "; is it " + f.Name + "?"
		}
	}
	if meant := near.Word(name, names, 2); meant != "" {
		return "; is it " + meant + "?"
	}
	return ""
}

// recordType is a record of RecordType.
type recordType struct {
	ID            string `json:"Id"`
	DeveloperName string `json:"DeveloperName"`
}

// renamedType matches the record type in the query of a topic.
var renamedType = regexp.MustCompile(`(?i)\bRecordTypeId\s*=\s*'([A-Za-z0-9]{15,18})'`)

// recordTypeID returns the id of the record type that is wanted. Where the org has none of that
// developer name, but the topic that is there is about a record type that the org has, then that
// one was renamed.
func (p *PushTopics) recordTypeID(ctx context.Context, object string, s *sobjectTopic) (string, error) {
	var types []recordType
	// The org's own, which have no prefix, come before those of packages.
	soql := "SELECT Id, DeveloperName FROM RecordType WHERE SobjectType = " + quote(object) + " ORDER BY NamespacePrefix, DeveloperName"
	for record, err := range p.rest.client.Query(ctx, soql) {
		var t recordType
		if err == nil {
			err = json.Unmarshal(record.Raw(), &t)
		}
		if err != nil {
			return "", fmt.Errorf("RecordType: %w", err)
		}
		if strings.EqualFold(t.DeveloperName, s.recordType) {
			return t.ID, nil
		}
		types = append(types, t)
	}
	there, err := p.look(ctx, s.topic.Name)
	if err != nil {
		return "", err
	}
	have, _ := there.named(s.topic.Name)
	if id := renamedType.FindStringSubmatch(have.Query); id != nil {
		for _, t := range types {
			if short(t.ID) == short(id[1]) {
				p.rest.client.Logger().Warn("a record type was renamed: its PushTopic is kept", "pushtopic", s.topic.Name, "object", object,
					"record type", s.recordType, "developer name now", t.DeveloperName, "remedy", fmt.Sprintf("say RecordType(%q), Name(%q)", t.DeveloperName, s.topic.Name))
				return t.ID, nil
			}
		}
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.DeveloperName
	}
	return "", fmt.Errorf("RecordType: %w: %s has no record type %s: it has %s", ErrNotFound, object, s.recordType, cmp.Or(strings.Join(names, ", "), "none"))
}

// userID returns the id of the user that the client is logged in as.
func (p *PushTopics) userID(ctx context.Context) (string, error) {
	var info struct {
		UserID string `json:"user_id"`
	}
	_, err := p.rest.get(ctx, "/services/oauth2/userinfo", url.Values(nil), &info)
	if err == nil && !recordID.MatchString(info.UserID) {
		err = fmt.Errorf("/services/oauth2/userinfo: %w: it has no id of a user", errUnread)
	}
	if err != nil {
		return "", fmt.Errorf("ExcludeCurrentUser: %w", err)
	}
	return info.UserID, nil
}
