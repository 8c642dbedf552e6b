package interop

import (
	"bufio"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTheDocumentOfTestorg runs what docs/testorg.md shows, unchanged: its commands for a shell,
// one after the other, and each program that a comment gives a name.
func TestTheDocumentOfTestorg(t *testing.T) {
	t.Parallel()
	node(t, "") // skips the test where it cannot run
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	document, err := os.ReadFile("../../docs/testorg.md")
	check(t, err)
	dir := t.TempDir()
	modules, err := filepath.Abs("node_modules")
	check(t, err)
	check(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	bin := filepath.Dir(buildProgram(t))

	var shell []string
	for _, m := range regexp.MustCompile("(?sm)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(document), -1) {
		shell = append(shell, m[1])
	}
	var programs []string
	for _, m := range regexp.MustCompile("(?sm)^<!-- run: (\\S+) -->\n```\\w+\n(.*?)^```$").FindAllStringSubmatch(string(document), -1) {
		check(t, os.WriteFile(filepath.Join(dir, m[1]), []byte(m[2]), 0o600))
		programs = append(programs, m[1])
	}
	if all := strings.Count(string(document), "\n```js\n") + 1; len(shell) < 3 || len(programs) != all || all < 5 {
		t.Fatalf("%d parts for a shell, and %d of %d programs to run", len(shell), len(programs), all)
	}

	// The shell goes on, as a person's would, until the programs have run.
	sh := exec.Command("sh", "-e")
	sh.Stdin = strings.NewReader(strings.Join(shell, "\n") + "\nenv -0 >shell.env\necho ready\nwait\n")
	sh.Dir, sh.Stderr = dir, os.Stderr
	sh.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	stdout, err := sh.StdoutPipe()
	check(t, err)
	check(t, sh.Start())
	t.Cleanup(func() {
		file, err := os.ReadFile(filepath.Join(dir, "org.env"))
		check(t, err)
		if pid := regexp.MustCompile(`TESTORG_PID='(\d+)'`).FindSubmatch(file); pid != nil {
			_ = exec.Command("kill", string(pid[1])).Run()
		}
		if err := sh.Wait(); err != nil {
			t.Errorf("the shell: %v", err)
		}
	})
	var said []string
	lines := bufio.NewScanner(stdout)
	limit := time.AfterFunc(time.Minute, func() { _ = sh.Process.Kill() })
	for lines.Scan() && lines.Text() != "ready" {
		said = append(said, lines.Text())
	}
	limit.Stop()
	text := strings.Join(said, "\n")
	for want, n := range map[string]int{`"access_token"`: 2, `"schemaId"`: 1, "POST /control/define": 1, `"fault":"Refuse"`: 1, `"Number__c":"A-1"`: 1} {
		if strings.Count(text, want) < n {
			t.Errorf("the shell has not printed %s %d times: %s", want, n, text)
		}
	}
	env, err := os.ReadFile(filepath.Join(dir, "shell.env"))
	if err != nil {
		t.Fatalf("the shell has failed: %s", text)
	}
	variables := strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")

	event := regexp.MustCompile(`^(order A-1|event [0-9a-f]{20} \d+)$`) // the one that the shell published
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			cmd := exec.Command("node", program)
			if filepath.Ext(program) == ".py" {
				cmd = python(t, dir, program)
			}
			cmd.Dir, cmd.Env, cmd.Stderr = dir, append(variables, "NODE_NO_WARNINGS=1"), os.Stderr
			stdout, err := cmd.StdoutPipe()
			check(t, err)
			check(t, cmd.Start())
			limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer limit.Stop()
			var printed []string
			for out := bufio.NewScanner(stdout); out.Scan(); {
				if printed = append(printed, out.Text()); event.MatchString(out.Text()) {
					break
				}
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if len(printed) == 0 || !event.MatchString(printed[len(printed)-1]) {
				t.Errorf("printed %q", printed)
			}
		})
	}
}

// python makes a command of a program that has the modules of the Pub/Sub API in dir, or skips the
// test where it cannot run.
func python(t *testing.T, dir, program string) *exec.Cmd {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} { // the second one has the system's packages
		if exec.Command(name, "-c", "import grpc, grpc_tools, requests").Run() != nil {
			continue
		}
		proto, err := os.ReadFile("node_modules/salesforce-pubsub-api-client/pubsub_api.proto")
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, "pubsub_api.proto"), proto, 0o600))
		protoc := exec.Command(name, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", "pubsub_api.proto")
		protoc.Dir = dir
		if out, err := protoc.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return exec.Command(name, program)
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Python has grpcio, grpcio-tools and requests")
	}
	t.Skip("no Python has grpcio, grpcio-tools and requests")
	return nil
}

// TestTheDocumentOfTestorgHasItsLinks proves that the files are there that the document links to.
func TestTheDocumentOfTestorgHasItsLinks(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/testorg.md")
	check(t, err)
	for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(document), -1) {
		if u, err := url.Parse(m[1]); err != nil || u.Scheme != "" {
			continue
		}
		if _, err := os.Stat(filepath.Join("../../docs", m[1])); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
}
