package sfstreamtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// DefineJSON defines what a JSON object says, in the form in which the control API takes it: a
// channel with its schema or its members, or an object with its fields, as POST /control/define
// does; Name and Query as /control/definePushTopic; and a channel /u/… as
// /control/defineGenericChannel. See GET /control/ of an org with [WithControlAddr].
func (s *Server) DefineJSON(definition []byte) error {
	m, err := bodyMembers(definition, nil)
	path := "/control/define"
	switch {
	case err != nil:
	case m["Name"] != nil || m["Query"] != nil:
		path += "PushTopic"
	case m["schema"] == nil && strings.HasPrefix(string(m["channel"]), `"/u/`):
		path += "GenericChannel"
	}
	for _, row := range controlRequests() {
		if err == nil && row.path == path {
			_, err = row.do(s, context.Background(), m)
		}
	}
	if wrong := new(mistake); errors.As(err, &wrong) && len(wrong.Known) > 0 {
		return fmt.Errorf("%s; there is: %s", wrong.Text, strings.Join(wrong.Known, ", "))
	}
	return err
}
