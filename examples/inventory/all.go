package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// runAll starts a simulated org and both programs as processes of their own, sells as many
// opportunities as there are to be orders, and ends when all are delivered. A process that dies is
// started again, as a service would be.
func runAll(ctx context.Context, orders int) error {
	org, err := startOrg()
	if err != nil {
		return err
	}
	defer org.Close()
	dir, err := os.MkdirTemp("", "inventory-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return err
	}

	running, stop := context.WithCancel(ctx)
	var processes sync.WaitGroup
	failed := make(chan error, 3)
	for _, name := range []string{"app", "listener"} {
		processes.Go(func() { failed <- keepRunning(running, org, name, filepath.Join(dir, name+".db")) })
	}
	sales := seller{client: client}
	processes.Go(func() { failed <- sales.sell(running, orders) })
	err = awaitDeliveries(ctx, client, failed, orders)
	stop()
	processes.Wait()
	if err != nil || ctx.Err() != nil {
		return err
	}
	// Each other event of the org comes of a delivery.
	deliveries := len(org.Retained(opportunities)) - sales.changes
	fmt.Printf("%d orders, %d deliveries, %d confirmations published\n", orders, deliveries, len(org.Retained(confirmations)))
	if deliveries != orders {
		return fmt.Errorf("%d orders were delivered %d times", orders, deliveries)
	}
	return nil
}

// keepRunning runs this program as one of the two, until ctx ends.
func keepRunning(ctx context.Context, org *sfstreamtest.Server, name, replay string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, self, "-"+name, "-replay", replay)
		cmd.Cancel = func() error {
			if cmd.Process.Signal(os.Interrupt) != nil {
				return cmd.Process.Kill() // Windows knows no other way
			}
			return nil
		}
		cmd.WaitDelay = 10 * time.Second
		for _, variable := range os.Environ() {
			if !strings.HasPrefix(variable, "SALESFORCE_") {
				cmd.Env = append(cmd.Env, variable)
			}
		}
		cmd.Env = append(cmd.Env, environment(org)...)
		out, w := io.Pipe()
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Start(); err != nil {
			return err
		}
		say("%s: process %d", name, cmd.Process.Pid)
		var lines sync.WaitGroup
		lines.Go(func() {
			for scanner := bufio.NewScanner(out); scanner.Scan(); {
				say("%s: %s", name, scanner.Text())
			}
		})
		err := cmd.Wait()
		w.Close()
		lines.Wait()
		if ctx.Err() == nil {
			say("%s: ended (%v); starting it again", name, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// stdout is written by line, from several goroutines.
var stdout sync.Mutex

func say(format string, args ...any) {
	stdout.Lock()
	defer stdout.Unlock()
	fmt.Printf(format+"\n", args...)
}

// awaitDeliveries waits until that many opportunities have a date, and fails if something fails
// before.
func awaitDeliveries(ctx context.Context, client *sfstream.Client, failed <-chan error, orders int) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		delivered := 0
		for _, err := range client.Query(ctx, "SELECT Id FROM Opportunity WHERE EstimatedDeliveryDate__c != null") {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			delivered++
		}
		if delivered >= orders {
			return nil
		}
		select {
		case err := <-failed:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
