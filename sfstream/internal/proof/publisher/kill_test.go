package publisher

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestMain(m *testing.M) {
	child.Main(m, map[string]func() error{"publish": child.Job(publishAll)})
}

// publishArgs is what the killed program is started with.
type publishArgs struct {
	LoginURL, Endpoint string
	Account            sfstreamtest.Account
}

// publishAll is the program that gets killed: it prints the id of each event whose receipt says
// that it is published.
func publishAll(args publishArgs) error {
	client, err := sfstream.New(authenticator.Password{
		ConsumerKey: args.Account.ConsumerKey, ConsumerSecret: args.Account.ConsumerSecret,
		Username: args.Account.Username, Password: args.Account.Password, SecurityToken: args.Account.SecurityToken,
	}, sfstream.WithLoginURL(args.LoginURL), sfstream.WithPubSubEndpoint(args.Endpoint))
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		return err
	}
	p, err := client.Publisher(lab.Orders, sfstream.WithLinger(time.Millisecond), sfstream.WithBatchSize(50))
	if err != nil {
		return err
	}
	receipts := make(chan *sfstream.Receipt, 1000)
	go func() { // ends with the process, as all of it does
		for r := range receipts {
			if <-r.Done(); r.Err() == nil {
				fmt.Fprintln(os.Stdout, r.Result().ID)
			}
		}
	}()
	for n := 0; ; n++ {
		r, err := p.Publish(ctx, order{N: float64(n)})
		if err != nil {
			return err
		}
		receipts <- r
	}
}

// A program that is killed has told nothing as published that is not there.
func TestWhatHadAReceiptIsThereAfterAKill(t *testing.T) {
	org := sfstreamtest.NewServer(t)
	if err := org.DefineEvent(lab.Orders, lab.Schema("Order__e")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cmd := child.Command(t, "publish", publishArgs{org.LoginURL(), org.PubSubEndpoint(), org.Account()})
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		child.Start(t, cmd)
		told, lines := 0, bufio.NewScanner(out)
		kill := 1000 + rand.IntN(2000)
		var ids []string
		for lines.Scan() {
			ids = append(ids, lines.Text())
			if told++; told == kill {
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
			}
		}
		if told < kill {
			t.Fatalf("it has told of %d events only", told)
		}
		bus := map[string]bool{}
		for _, e := range org.Retained(lab.Orders) {
			bus[e.ID] = true
		}
		for i, id := range ids {
			torn := i == len(ids)-1 && len(id) < len(ids[0]) // the kill has cut the line
			if !bus[strings.TrimSpace(id)] && !torn {
				t.Fatalf("event %d, %q, had its receipt and is not there", i, id)
			}
		}
	}
}
