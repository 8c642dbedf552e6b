package moving

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

const pageFile = "../../../docs/moving.md"

// section is what is below a heading of the page.
type section struct {
	text string
	rows [][]string // cells of tables
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func spans(text string) (code []string) {
	for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
		code = append(code, m[1])
	}
	return code
}

func page(t *testing.T) map[string]section {
	t.Helper()
	text, err := os.ReadFile(pageFile)
	lab.Must(t, err)
	sections := make(map[string]section)
	for part := range strings.SplitSeq(string(text), "\n## ") {
		heading, rest, _ := strings.Cut(part, "\n")
		s := section{text: rest}
		for line := range strings.Lines(rest) {
			if cells := strings.Split(strings.Trim(line, "| \n"), " | "); line[0] == '|' && !strings.HasPrefix(line, "|---") {
				s.rows = append(s.rows, cells)
			}
		}
		sections[heading] = s
	}
	return sections
}

// tokens are those of a piece of Go, one a line, whatever its white space and comments.
func tokens(t *testing.T, source string) string {
	t.Helper()
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(source))
	s.Init(file, []byte(source), func(_ token.Position, problem string) { t.Errorf("%.60s is no Go: %s", source, problem) }, 0)
	all := "\n"
	for {
		switch _, kind, literal := s.Scan(); {
		case kind == token.EOF:
			return all
		case kind == token.SEMICOLON && literal == "\n": // at the end of a line, or of source
		case literal != "":
			all += literal + "\n"
		default:
			all += kind.String() + "\n"
		}
	}
}

// What the page says to write is code that the tests here run, or a command.
func TestTheCodeOfThePage(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	lab.Must(t, err)
	var tested strings.Builder
	for _, file := range files {
		source, err := os.ReadFile(file)
		lab.Must(t, err)
		if file != "page_test.go" {
			tested.WriteString(tokens(t, string(source)))
		}
	}
	commands, err := os.ReadFile("../../../cmd/sfstream/main.go")
	lab.Must(t, err)
	checked := 0
	for heading, s := range page(t) {
		if len(s.rows) == 0 || len(s.rows[0]) != 2 || s.rows[0][1] != "here" {
			continue
		}
		for _, row := range s.rows[1:] {
			if strings.TrimSpace(row[1]) == "" {
				t.Errorf("%s: %s has nothing here", heading, row[0])
			}
			for _, code := range spans(row[1]) {
				checked++
				command, ok := strings.CutPrefix(code, "sfstream ")
				switch name, _, _ := strings.Cut(command, " "); {
				case ok && !strings.Contains(string(commands), `{name: "`+name+`"`):
					t.Errorf("%s: there is no command %s", heading, code)
				case !ok && !strings.Contains(tested.String(), tokens(t, code)):
					t.Errorf("%s: no test has %s", heading, code)
				}
			}
		}
	}
	if checked < 200 {
		t.Errorf("%d pieces of code were found: the page is read wrongly", checked)
	}
}

// features are the public features of three clients, which are whole tables of the page.
var features = map[string]string{
	"aiosfstream": `
		Client, SalesforceStreamingClient, consumer_key, consumer_secret, username, password, sandbox, replay,
		ReplayOption.NEW_EVENTS, ReplayOption.ALL_EVENTS, replay_fallback, replay_storage_policy, AUTOMATIC, MANUAL,
		extract_replay_id, replay_storage, connection_timeout, max_pending_count, json_dumps, json_loads, loop, open,
		close, subscribe, unsubscribe, publish, receive, async for, async with, closed, subscriptions,
		connection_type, pending_count, has_pending_messages, replay_storage, create_replay_storage, get_cometd_url,
		PasswordAuthenticator, RefreshTokenAuthenticator, access_token, token_type, instance_url, id, signature,
		issued_at, AuthenticatorBase, _authenticate, ReplayMarkerStorage, get_replay_marker, set_replay_marker,
		MappingStorage, DefaultMappingStorage, ConstantReplayId, ReplayMarker, AiosfstreamException,
		AuthenticationError, ClientError, ClientInvalidOperation, TransportError, TransportInvalidOperation,
		TransportTimeoutError, TransportConnectionClosed, ServerError, error_code, error_args, error_message,
		ReplayError, connection_types, ssl, Extension.incoming, Extension.outgoing, AuthExtension.authenticate,
		ConnectionType`,
	"aio_sf_streaming": `
		SimpleSalesforceStreaming, SimpleRefreshTokenSalesforceStreaming, username, password, client_id,
		client_secret, refresh_token, BaseSalesforceStreaming, sandbox, version, loop, connector, BaseConnector,
		login_connector, PasswordConnector, RefreshTokenConnector, fetch_token, start, stop, async with,
		create_connected_session, close_session, subscribe, unsubscribe, handshake, disconnect, send, get, post,
		request, get_handshake_payload, get_subscribe_payload, get_unsubscribe_payload, end_point, token_url,
		base_header, messages, events, ask_stop, TimeoutAdviceMixin, AutoVersionMixin, ReplayMixin, store_replay_id,
		get_last_replay_id, ReplayType.ALL_EVENTS, ReplayType.NEW_EVENTS, AutoReconnectMixin, ReSubscribeMixin,
		retry_sub_duration, retry_factor, retry_max_duration, retry_max_count, should_retry_on_exception,
		should_retry_on_error_response, AllMixin`,
	"nameko-salesforce": `
		USERNAME, PASSWORD, SECURITY_TOKEN, SANDBOX, API_VERSION, BAYEUX_VERSION, BAYEUX_MINIMUM_VERSION, PUSHTOPIC_REPLAY_ENABLED,
		PUSHTOPIC_REPLAY_REDIS_URI, PUSHTOPIC_REPLAY_TTL, VERSION, MINIMUM_VERSION, SERVER_URI, @subscribe, @handle_notification, name,
		query, notify_for_fields, notify_for_operation_create, notify_for_operation_update, notify_for_operation_delete,
		notify_for_operation_undelete, @handle_sobject_notification, sobject_type, record_type, declare, exclude_current_user,
		stacked decorators, salesforce:replay_id, client_id, replay_id, SalesforceAPI, PushTopicsAPIClient, declare_push_topic,
		declare_push_topic_for_sobject, get_push_topic_by_name, get_user_id_by_name, get_record_type_id_by_name, NotFound, LRU cache,
		timeout, interval, reconnection`,
}

// Nobody who comes from one of the three has to guess what became of a feature.
func TestEachFeatureHasItsRow(t *testing.T) {
	sections := page(t)
	for client, all := range features {
		var there strings.Builder
		for _, row := range sections[client].rows {
			there.WriteString(row[0] + "\n")
		}
		for feature := range strings.SplitSeq(all, ",") {
			feature = strings.TrimSpace(feature)
			if name := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(feature) + `\b`); !name.MatchString(there.String()) {
				t.Errorf("%s: there is no row for %s", client, feature)
			}
		}
	}
}

// What differs on purpose is held by tests that there are.
func TestWhatDiffersIsHeldByTests(t *testing.T) {
	var tests strings.Builder
	lab.Must(t, filepath.WalkDir("../../../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		tests.Write(source)
		return err
	}))
	checked := 0
	for _, row := range page(t)["Different on purpose"].rows[1:] {
		if len(row) != 3 || len(spans(row[2])) == 0 {
			t.Fatalf("the row %q names no test", row)
		}
		for _, name := range spans(row[2]) {
			checked++
			if !strings.Contains(tests.String(), `"`+name+`", run:`) && !strings.Contains(tests.String(), "\nfunc "+name+"(t *testing.T)") {
				t.Errorf("there is no test %s", name)
			}
		}
	}
	expect(t, "that there are many", checked > 25, true)
}

// Links lead to files and headings that are there.
func TestTheLinksOfThePage(t *testing.T) {
	text, err := os.ReadFile(pageFile)
	lab.Must(t, err)
	var anchors []string
	for heading := range page(t) {
		anchors = append(anchors, regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ReplaceAll(strings.ToLower(heading), " ", "-"), ""))
	}
	for _, m := range regexp.MustCompile(`\]\(([^)]*[#/][^)]*)\)`).FindAllStringSubmatch(string(text), -1) {
		link, err := url.Parse(m[1])
		lab.Must(t, err)
		if link.Path == "" {
			if !slices.Contains(anchors, link.Fragment) {
				t.Errorf("there is no heading %s in %v", m[1], anchors)
			}
		} else if _, err := os.Stat(filepath.Join(filepath.Dir(pageFile), link.Path)); err != nil {
			t.Error(err)
		}
	}
}
