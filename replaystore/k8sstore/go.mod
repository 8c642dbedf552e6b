module github.com/sfstream/sfstream-go/replaystore/k8sstore

go 1.26.0

require github.com/sfstream/sfstream-go v0.1.0

require (
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
