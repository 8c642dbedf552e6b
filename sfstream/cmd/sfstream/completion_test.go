package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// typed is a line on which a user asks for completion, and what the shell offers for its last word.
type typed struct {
	line string
	want []string
}

// lines returns lines for each command and each flag. The working directory has the files of
// inDirectory.
func lines() []typed {
	files := []string{"my notes.txt", "replay.db", "sub"}
	offered := func(c candidates) []string {
		if c.files {
			return files
		}
		return c.words
	}
	all := []typed{
		{"sfstream ", candidatesOf("[COMMAND]")},
		{"sfstream vers", []string{"version"}},
		{"sfstream help mark", []string{"markers"}},
		{"sfstream none ", nil},
		{"sfstream tail -nonesuch ", nil},
		{"sfstream markers -json r", []string{"replay.db"}},
		{"sfstream markers my", []string{"my notes.txt"}},
		{"sfstream markers replay.db -api pub", []string{"pubsub"}},
		{"sfstream markers -api -org -im", []string{"-import"}}, // -org is the value of -api
		{"sfstream markers -- -", nil},
		{"sfstream completion z", []string{"zsh"}},
	}
	for _, c := range commands() {
		names := []string{"-help"}
		for _, f := range c.all() {
			names = append(names, "-"+f.Name)
			v := values(f)
			if isBool(f) {
				v = c.arguments()
			}
			all = append(all, typed{"sfstream " + c.name + " -" + f.Name + " ", offered(v)})
		}
		all = append(all, typed{"sfstream " + c.name + " -", names}, typed{"sfstream " + c.name + " ", offered(c.arguments())})
	}
	return all
}

func candidatesOf(args string) []string { return command{args: args}.arguments().words }

func inDirectory(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"my notes.txt", "replay.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// script writes the script of a shell to a file.
func script(t *testing.T, shell string) (path string) {
	t.Helper()
	status, text, stderr := printed(t, "completion", shell)
	if status != 0 {
		t.Fatal(stderr)
	}
	path = filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inShell runs a program of a shell, which prints what is offered for each of its arguments, with a
// line "." behind each.
func inShell(t *testing.T, lines []typed, shell string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell, args...)
	cmd.Dir = inDirectory(t)
	for _, l := range lines {
		cmd.Args = append(cmd.Args, l.line)
	}
	out, err := cmd.CombinedOutput()
	got := strings.Split(string(out), ".\n")
	if err != nil || len(got) != len(lines)+1 {
		t.Fatalf("%v: %s", err, out)
	}
	for i, l := range lines {
		offers(t, l, strings.Split(strings.TrimSuffix(got[i], "\n"), "\n"))
	}
}

// offers checks what a shell offers. Some shells print the description behind a tab, a / behind a
// directory, or a \ before a space.
func offers(t *testing.T, l typed, got []string) {
	t.Helper()
	for i, word := range got {
		word, _, _ = strings.Cut(word, "\t")
		got[i] = strings.TrimSuffix(strings.ReplaceAll(word, `\ `, " "), "/")
	}
	got = slices.DeleteFunc(got, func(word string) bool { return word == "" })
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(l.want)); !slices.Equal(slices.Compact(got), want) {
		t.Errorf("%q: offered %q, want %q", l.line, got, want)
	}
}

func TestCompletionInBash(t *testing.T) {
	// Readline breaks words at =, too.
	withValue := []typed{{"sfstream markers -api = pub", []string{"pubsub"}}, {"sfstream markers -api =", []string{"pubsub", "cometd"}},
		{"sfstream markers -import = r", []string{"replay.db"}}, {"sfstream markers -api = pubsub -ex", []string{"-export"}}}
	inShell(t, append(lines(), withValue...), "bash", "--norc", "-c", `
		source "$0"
		for line; do
			COMP_WORDS=($line)
			[[ $line != *' ' ]] || COMP_WORDS+=('')
			COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
			_sfstream
			printf '%s\n' "${COMPREPLY[@]}" .
		done
		complete -p sfstream >/dev/null`, script(t, "bash"))
}

// needsShell skips the test where there is no such shell, but never in CI, which installs it.
func needsShell(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func TestCompletionInFish(t *testing.T) {
	needsShell(t, "fish")
	t.Setenv("HOME", t.TempDir())
	withValue := typed{"sfstream markers -api=pub", []string{"-api=pubsub"}}
	inShell(t, append(lines(), withValue), "fish", "--no-config", "-c", `
		source $argv[1]
		for line in $argv[2..]
			complete -C $line
			echo .
		end`, script(t, "fish"))
}

// zsh completes on a terminal only: it gets one, and a start file that completes the lines and
// ends.
func TestCompletionInZsh(t *testing.T) {
	needsShell(t, "zsh")
	const start = `
		autoload -Uz compinit && compinit -C -D
		source $SCRIPT
		compadd() {
			local -a hits
			if [[ " $* " != *' -'[OAD]* ]]; then
				builtin compadd -O hits "$@"
				(( $#hits )) && print -rl -- $hits >>$OUT
			fi
			builtin compadd "$@"
		}
		probe() {
			for BUFFER in ${(f)ASKED}; do
				CURSOR=$#BUFFER
				zle list-choices
				print . >>$OUT
			done
			exit
		}
		zle -N zle-line-init probe`
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".zshrc"), []byte(start), 0o600); err != nil {
		t.Fatal(err)
	}
	// zsh takes a flag for a flag, also behind one that wants a value. It is slow: the flags of two
	// commands stand for all.
	asked := append(slices.DeleteFunc(lines(), func(l typed) bool {
		return strings.Contains(l.line, "-api -org") || strings.HasSuffix(l.line, " ") && strings.Contains(l.line, " -") &&
			!strings.HasPrefix(l.line, "sfstream markers ") && !strings.HasPrefix(l.line, "sfstream gen ")
	}),
		typed{"sfstream markers -api=pub", []string{"pubsub"}}, typed{"sfstream markers -import=r", []string{"replay.db"}})
	var text []string
	for _, l := range asked {
		text = append(text, l.line)
	}
	out := filepath.Join(home, "out")
	cmd := exec.CommandContext(t.Context(), "zsh", "-f", "-c", "zmodload zsh/zpty; zpty z zsh -i; while zpty -r z text; do print -r -- $text; done")
	cmd.Dir = inDirectory(t)
	cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+home, "ZDOTDIR="+home, "SCRIPT="+script(t, "zsh"), "OUT="+out, "ASKED="+strings.Join(text, "\n"))
	terminal, _ := cmd.CombinedOutput() // zpty fails at the end of the terminal
	got, err := os.ReadFile(out)
	offered := strings.Split(string(got), ".\n")
	if err != nil || len(offered) != len(asked)+1 {
		t.Fatalf("zsh printed %q (%v): %s", got, err, terminal)
	}
	for i, l := range asked {
		words := strings.Split(offered[i], "\n")
		if len(l.want) == 0 {
			// Where there is nothing else zsh offers flags.
			words = slices.DeleteFunc(words, func(word string) bool { return strings.HasPrefix(word, "-") })
		}
		offers(t, l, words)
	}
}

// Both ways to install the script for zsh: as a file in $fpath it is the body of the function.
func TestTheScriptForZshIsAnAutoloadedFunction(t *testing.T) {
	needsShell(t, "zsh")
	dir := t.TempDir()
	text, err := os.ReadFile(script(t, "zsh"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "_sfstream"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "zsh", "-f", "-c", `
		fpath=($1 $fpath); autoload -Uz _sfstream
		_describe() { echo "described $1" }
		words=(sfstream ''); CURRENT=2; _sfstream; _sfstream`, "zsh", dir).CombinedOutput()
	if want := "described command\ndescribed command\n"; err != nil || string(out) != want {
		t.Errorf("printed %q, want %q (%v)", out, want, err)
	}
}
