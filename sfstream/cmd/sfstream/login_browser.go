package main

import (
	"os"
	"os/exec"
	"runtime"
)

// openBrowser opens a page in the user's browser. It returns false if it knows of none.
func openBrowser(page string) bool {
	var command []string
	switch browser := os.Getenv("BROWSER"); {
	case browser != "":
		command = []string{browser}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler"}
	case runtime.GOOS == "darwin":
		command = []string{"open"}
	case os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "":
		return false // it could only be one for the terminal, which this program uses
	default:
		command = []string{"xdg-open"}
	}
	cmd := exec.Command(command[0], append(command[1:], page)...)
	if cmd.Start() != nil {
		return false
	}
	go cmd.Wait() // a browser may stay for as long as it likes, also after this program
	return true
}
