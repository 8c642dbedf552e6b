package authenticator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// cliTimeout is how long both commands of one login may take together. It is a variable because
// processes run by the real clock: a test cannot wait for so long, and sets a shorter time.
var cliTimeout = time.Minute

// cli is the Authenticator that uses a login of the Salesforce CLI, for a developer's own machine.
// Each Authenticate runs the CLI anew, and the CLI renews its login if it has to.
type cli struct {
	org string // an alias or a username
}

// cliReply is the output of a command of the CLI with --json: a result, or an error (Name and
// Message).
type cliReply struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Result  struct {
		AccessToken string `json:"accessToken"`
		InstanceURL string `json:"instanceUrl"`
		ID          string `json:"id"`
	} `json:"result"`
}

// Authenticate runs two commands. "sf org display" tells the instance, the org id and, in versions
// of the CLI without the other command, the token; newer versions show a word in place of the
// token. It runs first because it also renews the login. "sf org auth show-access-token" tells the
// token.
func (c cli) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	x := newExchange("cli", login)
	if c.org == "" || strings.HasPrefix(c.org, "-") {
		return nil, x.fail(codeConfig, 0, nil, "SALESFORCE_ORG must be an alias or a username that the Salesforce CLI knows")
	}
	path, err := exec.LookPath("sf")
	if err != nil {
		return nil, x.fail(codeConfig, 0, nil, "SALESFORCE_ORG takes the login of the Salesforce CLI, but there is no sf on the PATH")
	}
	ctx, cancel := context.WithTimeout(ctx, cliTimeout)
	defer cancel()
	display, err := x.run(ctx, path, "org", "display", "--target-org", c.org, "--json")
	if err != nil {
		return nil, err
	}
	creds := &Credentials{AccessToken: display.Result.AccessToken, TokenType: "Bearer", InstanceURL: display.Result.InstanceURL, OrgID: display.Result.ID}
	show, err := x.run(ctx, path, "org", "auth", "show-access-token", "--target-org", c.org, "--json", "--no-prompt")
	switch {
	case err == nil && show.Result.AccessToken != "":
		creds.AccessToken = show.Result.AccessToken
	case err == nil:
		return nil, x.fail(codeCLI, 0, nil, "sf org auth show-access-token told no access token")
	case ctx.Err() != nil, !tokenLike.MatchString(creds.AccessToken):
		return nil, err // the first command told no token either
	}
	reason := creds.checked()
	x.secrets = append(x.secrets, creds.AccessToken)
	if err := x.require("accessToken", creds.AccessToken, "instanceUrl", creds.InstanceURL, "id", creds.OrgID); err != nil {
		return nil, x.fail(codeCLI, 0, nil, "sf did not tell all of accessToken, instanceUrl and id of the org")
	}
	if reason != "" {
		return nil, x.fail(codeCLI, 0, nil, "of what sf told %s", reason)
	}
	return creds, nil
}

// run runs one command of the CLI.
func (x *exchange) run(ctx context.Context, path string, args ...string) (*cliReply, error) {
	var stdout, stderr limitedBuffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a killed sf may leave a child behind that holds its output open
	err := cmd.Run()
	var reply cliReply
	parsed := json.Unmarshal(stdout.Bytes(), &reply)
	x.secrets = append(x.secrets, reply.Result.AccessToken)
	if err == nil && parsed == nil {
		return &reply, nil
	}
	command := "sf " + strings.Join(args[:len(args)-1], " ")
	if i := strings.Index(command, " --"); i > 0 {
		command = command[:i]
	}
	switch {
	case ctx.Err() != nil:
		return nil, x.fail(codeNoAnswer, 0, ctx.Err(), "%s did not end", command)
	case err == nil:
		return nil, x.fail(codeCLI, 0, nil, "%s: its output is not JSON%s", command, x.said("", &stderr))
	}
	exit := err.Error()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		exit = e.Error()
	}
	text := reply.Message
	if reply.Name != "" && !strings.Contains(text, reply.Name) {
		text = reply.Name + ": " + text
	}
	return nil, x.fail(codeCLI, 0, nil, "%s: %s%s", command, x.cleanCLI(exit), x.said(text, &stderr))
}

// said returns what a failed command wrote, its JSON message and its standard error, to be appended
// to the error's text.
func (x *exchange) said(message string, stderr *limitedBuffer) string {
	var b strings.Builder
	for _, text := range []string{message, stderr.String()} {
		if text = x.cleanCLI(text); text != "" {
			b.WriteString(": " + text)
		}
	}
	return b.String()
}

// tokenLike matches what may be a secret in the output of a failed command. The token of such a
// command is not known, so that it cannot be redacted by its value. It matches an access token in
// either form, a refresh token, and the CLI's force:// URL that holds one.
var tokenLike = regexp.MustCompile(`\b00D[A-Za-z0-9]{12,15}!\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]*|\b5Aep\S+|force://\S+`)

// ansi matches the escape sequences by which the CLI colours a terminal.
var ansi = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

func (x *exchange) cleanCLI(text string) string {
	return x.clean(tokenLike.ReplaceAllString(ansi.ReplaceAllString(text, ""), redacted))
}

// limitedBuffer keeps the first replyLimit bytes that are written to it and drops the rest.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, replyLimit-b.Len()))])
	return len(p), nil
}

// String shows the alias or username of the org, which is no secret.
func (c cli) String() string { return fmt.Sprintf("authenticator.cli{org: %q}", c.org) }
