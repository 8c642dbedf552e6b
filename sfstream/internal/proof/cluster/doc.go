// Package cluster has the tests of package sfstream/cluster on the whole: replicas with real
// clients, an org and a register in memory, and TestSimulation, in which everything goes wrong.
package cluster
