package channels_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// toolingOrg keeps PlatformEventChannel and PlatformEventChannelMember records, as the Tooling API
// shows them.
type toolingOrg struct {
	smallOrg
	namespace string // the org's own
	taken     string // the code with which a second member for an event is refused
	page      int    // how many records a page of a query has, 0 for all

	channels []map[string]any
	members  []map[string]any
	made     int
}

func newToolingOrg() *toolingOrg {
	o := &toolingOrg{taken: "DUPLICATE_DEVELOPER_NAME"}
	o.answer = o.serve
	return o
}

const (
	channelPath = "tooling/sobjects/PlatformEventChannel"
	memberPath  = "tooling/sobjects/PlatformEventChannelMember"
)

type body struct {
	FullName string
	Metadata map[string]any
}

func (o *toolingOrg) serve(a asked) (int, any) {
	var sent body
	if a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &sent); err != nil {
			panic(err)
		}
	}
	if a.is("GET", "tooling/query") {
		return o.query(a)
	}
	table, id := &o.channels, strings.TrimPrefix(a.path, channelPath+"/")
	if strings.HasPrefix(a.path, memberPath) {
		table, id = &o.members, strings.TrimPrefix(a.path, memberPath+"/")
	}
	at := slices.IndexFunc(*table, func(row map[string]any) bool { return row["Id"] == id })
	switch {
	case a.method == "POST" && a.path == channelPath:
		return o.makeChannel(sent)
	case a.method == "POST" && a.path == memberPath:
		return o.makeMember(sent)
	case at < 0:
		return 404, refuses("NOT_FOUND", "The requested resource does not exist")
	case a.method == "GET":
		return 200, (*table)[at]
	case a.method == "DELETE":
		if table == &o.channels {
			o.members = slices.DeleteFunc(o.members, func(row map[string]any) bool { return row["EventChannel"] == id })
		}
		*table = slices.Delete(*table, at, at+1)
		return 204, nil
	}
	row := (*table)[at]
	there := row["Metadata"].(map[string]any)
	for _, fixed := range []string{"channelType", "eventChannel", "selectedEntity"} {
		if sent.Metadata[fixed] != there[fixed] || sent.FullName != row["FullName"] {
			return 400, refuses("FIELD_INTEGRITY_EXCEPTION", fixed+" cannot be updated")
		}
	}
	row["Metadata"] = sent.Metadata
	if table == &o.channels {
		row["MasterLabel"] = sent.Metadata["label"]
	}
	return 204, nil
}

var where = regexp.MustCompile(`WHERE (\w+) = '([^']*)'`)

func (o *toolingOrg) query(a asked) (int, any) {
	table := o.channels
	if strings.Contains(a.query.Get("q"), "PlatformEventChannelMember") {
		table = o.members
	}
	found := []map[string]any{}
	condition := where.FindStringSubmatch(a.query.Get("q"))
	for _, row := range table {
		if condition == nil || strings.EqualFold(row[condition[1]].(string), condition[2]) {
			found = append(found, row)
		}
	}
	if o.page == 0 {
		return 200, rowsOf(found...)
	}
	var begin int
	_, _ = fmt.Sscanf(a.path, "tooling/query/%d", &begin)
	if begin > 0 { // the path has no condition: it is a page of all members
		found = o.members
	}
	end := min(begin+o.page, len(found))
	answer := map[string]any{"totalSize": len(found), "done": end == len(found), "records": found[begin:end]}
	if end < len(found) {
		answer["nextRecordsUrl"] = fmt.Sprint("/services/data/v68.0/tooling/query/", end)
	}
	return 200, answer
}

func (o *toolingOrg) id(prefix string) string {
	o.made++
	return fmt.Sprintf("%s%012dAAA", prefix, o.made)
}

func (o *toolingOrg) makeChannel(sent body) (int, any) {
	name, ok := strings.CutSuffix(sent.FullName, "__chn")
	switch {
	case !ok:
		return 400, refuses("FIELD_INTEGRITY_EXCEPTION", "FullName must end with __chn")
	case slices.ContainsFunc(o.channels, func(row map[string]any) bool {
		return row["DeveloperName"] == name && row["NamespacePrefix"] == o.prefix()
	}):
		return 400, refuses("DUPLICATE_DEVELOPER_NAME", "This developer name is already in use")
	}
	id := o.id("0YL")
	full := sent.FullName
	if o.namespace != "" {
		full = o.namespace + "__" + full
	}
	o.channels = append(o.channels, map[string]any{
		"Id": id, "DeveloperName": name, "FullName": full, "NamespacePrefix": o.prefix(), "ManageableState": "unmanaged",
		"ChannelType": sent.Metadata["channelType"], "MasterLabel": sent.Metadata["label"], "Metadata": sent.Metadata,
	})
	return 201, made(id)
}

func (o *toolingOrg) prefix() any {
	if o.namespace == "" {
		return nil
	}
	return o.namespace
}

func made(id string) map[string]any {
	return map[string]any{"id": id, "success": true, "errors": []any{}, "warnings": []any{}, "infos": []any{}}
}

func (o *toolingOrg) makeMember(sent body) (int, any) {
	event, _ := sent.Metadata["selectedEntity"].(string)
	channel := "ChangeEvents"
	if sent.Metadata["eventChannel"] != channel {
		at := slices.IndexFunc(o.channels, func(row map[string]any) bool { return row["FullName"] == sent.Metadata["eventChannel"] })
		if at < 0 {
			return 400, refuses("INVALID_CROSS_REFERENCE_KEY", "no such channel")
		}
		channel = o.channels[at]["Id"].(string)
	}
	switch {
	case strings.Contains(sent.FullName, "__"):
		return 400, refuses("INVALID_FULL_NAME", "Cannot create a new component with the namespace")
	case strings.HasPrefix(event, "Unknown"):
		return 400, refuses("FIELD_INTEGRITY_EXCEPTION", "there is no entity "+event)
	case slices.ContainsFunc(o.members, func(row map[string]any) bool {
		return row["EventChannel"] == channel && row["Metadata"].(map[string]any)["selectedEntity"] == event
	}):
		return 400, refuses(o.taken, "the channel has this member")
	}
	id := o.id("0v8")
	column := event // the id of what an org defines
	if strings.HasSuffix(event, "__e") {
		column = o.id("01I")
	}
	o.members = append(o.members, map[string]any{
		"Id": id, "FullName": sent.FullName, "DeveloperName": sent.FullName, "EventChannel": channel, "SelectedEntity": column, "Metadata": sent.Metadata,
	})
	return 201, made(id)
}

// selects makes a member beside the client.
func (o *toolingOrg) selects(channel, event string) {
	o.makeMember(body{strings.ReplaceAll(channel+"_"+event, "__", "_"), map[string]any{"eventChannel": channel, "selectedEntity": event, "enrichedFields": nil, "filterExpression": nil}})
}

// member returns the metadata of an event's member.
func (o *toolingOrg) member(event string) map[string]any {
	for _, row := range o.members {
		if fields := row["Metadata"].(map[string]any); fields["selectedEntity"] == event {
			return fields
		}
	}
	return nil
}
