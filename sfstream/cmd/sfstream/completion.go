package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

const completionHelp = `Prints a script with which a shell completes commands, flags, files, and the
values of flags that have a few. It does not know channels.

bash, in ~/.bashrc:

  source <(sfstream completion bash)

zsh, in ~/.zshrc behind compinit:

  source <(sfstream completion zsh)

fish, once:

  sfstream completion fish > ~/.config/fish/completions/sfstream.fish
`

// completionFlags is a run of sfstream completion, which has no flags.
type completionFlags struct{}

func (completionFlags) register(*flag.FlagSet) {}

func (completionFlags) run(_ context.Context, args []string, stdout, _ io.Writer) error {
	scripts := map[string]func() string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	_, err := io.WriteString(stdout, scripts[args[0]]())
	return err
}

// candidates says what a shell completes: words, files, or what only the user knows.
type candidates struct {
	words []string
	files bool
}

// arguments returns the candidates for the arguments of a command.
func (c command) arguments() candidates {
	switch name := strings.Trim(c.args, "[]…"); {
	case name == "FILE":
		return candidates{files: true}
	case name == "COMMAND":
		var names []string
		for _, c := range commands() {
			names = append(names, c.name)
		}
		return candidates{words: names}
	case strings.Contains(name, "|"):
		return candidates{words: strings.Split(name, "|")}
	}
	return candidates{}
}

// values returns the candidates for the value of a flag.
func values(f *flag.Flag) candidates {
	if c, ok := f.Value.(*choice); ok {
		return candidates{words: c.words}
	}
	name, _ := flag.UnquoteUsage(f)
	return candidates{files: strings.EqualFold(name, "file")}
}

// about returns what help says about a flag, without marks and as one line.
func about(f *flag.Flag) string {
	_, text := flag.UnquoteUsage(f)
	return strings.Join(strings.Fields(text), " ")
}

// quoted returns text as a word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// bashBody runs in bash 3.2, which macOS has, too. Bash may take -flag=value for three words.
const bashBody = `
_sfstream() {
  local cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[1]} flag= ended= offer= i word
  COMPREPLY=()
  if (( COMP_CWORD < 2 )); then
    _sfstream_offer commands
    _sfstream_words
    return
  fi
  for (( i = 2; i < COMP_CWORD; i++ )); do
    word=${COMP_WORDS[i]}
    if [[ -n $flag ]]; then # word is its value
      [[ $word == '=' ]] || flag=
    elif [[ -z $ended && $word == -- ]]; then
      ended=1
    elif [[ -z $ended && $word == -?* ]]; then
      word=${word#-}
      word=-${word#-}
      _sfstream_offer "$cmd $word"
      [[ $offer == none ]] || flag=$word
    fi
  done
  [[ -z $flag || $cur != '=' ]] || cur=
  if [[ -n $flag ]]; then
    _sfstream_offer "$cmd $flag"
  elif [[ -z $ended && $cur == -* ]]; then
    _sfstream_offer "$cmd flags"
  else
    _sfstream_offer "$cmd"
  fi
  case $offer in
    files) _sfstream_files ;;
    none) ;;
    *) _sfstream_words ;;
  esac
}

_sfstream_words() {
  local line
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -W "$offer" -- "$cur")
}

_sfstream_files() {
  local line
  compopt -o filenames 2>/dev/null
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
}

complete -F _sfstream sfstream
`

// bashScript returns the script for bash. Its function _sfstream_offer sets offer: to "none" for a
// flag without a value, to nothing where only the user knows.
func bashScript() string {
	var b strings.Builder
	b.WriteString("# Completion of sfstream for bash.\n\n_sfstream_offer() {\n  case $1 in\n")
	row := func(of string, c candidates) {
		text := strings.Join(c.words, " ")
		if c.files {
			text = "files"
		}
		fmt.Fprintf(&b, "    %s) offer=%s ;;\n", quoted(of), quoted(text))
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
		flags := []string{"-help"}
		for _, f := range c.all() {
			flags = append(flags, "-"+f.Name)
			if isBool(f) {
				row(c.name+" -"+f.Name, candidates{words: []string{"none"}})
			} else {
				row(c.name+" -"+f.Name, values(f))
			}
		}
		row(c.name+" flags", candidates{words: flags})
		row(c.name, c.arguments())
	}
	row("commands", candidates{words: names})
	b.WriteString("    *) offer=none ;;\n  esac\n}\n" + bashBody)
	return b.String()
}

// zshScript returns the script for zsh, which can be sourced or be the file _sfstream in $fpath.
func zshScript() string {
	var b strings.Builder
	b.WriteString("#compdef sfstream\n# Completion of sfstream for zsh.\n\n_sfstream() {\n  local curcontext=$curcontext\n" +
		"  local -a commands\n  commands=(\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "    %s\n", quoted(c.name+":"+c.short))
	}
	b.WriteString("  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n" +
		"  shift words\n  (( CURRENT-- ))\n  case $words[1] in\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "    %s)\n      _arguments -S \\\n        '(- *)-help[explain the command]'", c.name)
		for _, f := range c.all() {
			text := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(about(f))
			if isBool(f) {
				fmt.Fprintf(&b, " \\\n        %s", quoted(fmt.Sprintf("-%s[%s]", f.Name, text)))
				continue
			}
			name, _ := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, " \\\n        %s", quoted(fmt.Sprintf("*-%s=[%s]:%s:%s", f.Name, text, strings.ReplaceAll(name, ":", `\:`), zshAction(values(f)))))
		}
		if c.args != "" {
			many := "1"
			if strings.Contains(c.args, "…") {
				many = "*"
			}
			fmt.Fprintf(&b, " \\\n        %s", quoted(fmt.Sprintf("%s:%s:%s", many, strings.Trim(c.args, "[]…"), zshAction(c.arguments()))))
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("  esac\n}\n\nif [[ $funcstack[1] == _sfstream ]]; then\n  _sfstream \"$@\"\nelse\n  compdef _sfstream sfstream\nfi\n")
	return b.String()
}

func zshAction(c candidates) string {
	if c.files {
		return "_files"
	}
	if len(c.words) == 0 {
		return " " // nothing to complete
	}
	return "(" + strings.Join(c.words, " ") + ")"
}

// fishScript returns the script for fish.
func fishScript() string {
	var b strings.Builder
	b.WriteString("# Completion of sfstream for fish.\n\n" +
		"function __sfstream_is\n  set -l words (commandline -opc)\n  test \"$words[2]\" = \"$argv[1]\"\nend\n\n" +
		"complete -c sfstream -f\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "complete -c sfstream -n '__sfstream_is \"\"' -a %s -d %s\n", c.name, quoted(c.short))
		is := fmt.Sprintf("complete -c sfstream -n '__sfstream_is %s'", c.name)
		fmt.Fprintf(&b, "%s -o help -d 'explain the command'\n", is)
		for _, f := range c.all() {
			takes := ""
			if v := values(f); !isBool(f) {
				takes = fishValues(v)
				if takes == "" {
					takes = " -x"
				}
			}
			fmt.Fprintf(&b, "%s -o %s%s -d %s\n", is, f.Name, takes, fishQuoted(about(f)))
		}
		if takes := strings.TrimPrefix(fishValues(c.arguments()), " -r"); takes != "" {
			fmt.Fprintf(&b, "%s%s\n", is, strings.Replace(takes, " -x", "", 1))
		}
	}
	return b.String()
}

func fishValues(c candidates) string {
	switch {
	case c.files:
		return " -r -F"
	case len(c.words) > 0:
		return " -x -a " + fishQuoted(strings.Join(c.words, " "))
	}
	return ""
}

// fishQuoted returns text as a word of fish, which knows backslashes between single quotes.
func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
