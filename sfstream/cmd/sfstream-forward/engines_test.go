package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// startEtcd starts a server on free ports, and returns its address when it answers.
func startEtcd(t *testing.T) (address string) {
	t.Helper()
	path := engineBinary(t, "etcd", "/usr/bin")
	address = freeAddress(t)
	client, peer := "http://"+address, "http://"+freeAddress(t)
	server := exec.Command(path, "--name=one", "--data-dir="+t.TempDir(), "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=one="+peer)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if _, err := etcd.Get(t.Context(), "ready"); err != nil {
		t.Fatal(err)
	}
	return address
}

// TestCheckAsksTheEngines has an URL of each kind, but for Kubernetes, whose API servers are found by
// what a pod has.
func TestCheckAsksTheEngines(t *testing.T) {
	org := startOrg(t)
	for _, variable := range login(org) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	check := func(t *testing.T, sink, register, want string) {
		t.Helper()
		status, stdout, stderr := printed(t, "-check", "-sink", sink, "-register", register, orders)
		well := status == 0 && strings.Contains(stdout, "ok   sink ") && strings.Contains(stdout, "ok   register ")
		if want == "" && !well {
			t.Errorf("%s, %s: status %d, printed %s%s", sink, register, status, stdout, stderr)
		}
		if want != "" && (status != 1 || !strings.Contains(stderr, want)) {
			t.Errorf("%s, %s: status %d, printed %s%s; want %q", sink, register, status, stdout, stderr, want)
		}
	}
	t.Run("NATS", func(t *testing.T) {
		address, _ := startNATS(t)
		check(t, "nats://"+address+"/salesforce.{entity}.{change}", "nats://"+address+"?bucket=markers", "")
		check(t, "nats://"+address+"/other.{entity}", "nats://"+address+"?bucket=markers", "/other.{entity}: no stream takes other.")
		check(t, "nats://"+address+"/salesforce.all", "nats://"+address+"?bucket=nothing", `bucket "nothing"`)
	})
	t.Run("Redis", func(t *testing.T) {
		address, _ := startRedis(t)
		check(t, "redis://"+address+"/salesforce", "redis://"+address+"?db=1", "")
		check(t, "redis://"+freeAddress(t)+"/salesforce", "redis://"+address, "/salesforce: dial tcp")
		check(t, "redis://"+address+"/salesforce", "redis://"+freeAddress(t), "sfstream-forward: -register redis://")
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		address, _ := startPostgres(t)
		check(t, "postgres://app@"+address+"/postgres?sslmode=disable", "postgres://app@"+address+"/postgres?sslmode=disable&table=markers", "")
		check(t, "postgres://app@"+address+"/nothing?sslmode=disable", "postgres://app@"+address+"/nothing?sslmode=disable", `database "nothing" does not exist`)
	})
	t.Run("etcd and Kafka", func(t *testing.T) {
		kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		defer kafka.Close()
		etcd := startEtcd(t)
		check(t, "kafka://"+strings.Join(kafka.ListenAddrs(), ",")+"/salesforce.{entity}", "etcd://"+etcd, "")
		check(t, "kafka://"+freeAddress(t)+"/salesforce", "etcd://"+etcd, "connection refused")
	})
}
