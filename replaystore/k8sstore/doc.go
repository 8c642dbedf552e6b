// Package k8sstore keeps the values of a [replaystore.Register] in ConfigMaps of Kubernetes, so
// that replicas which run there need no engine of their own. It speaks the Kubernetes API over
// net/http and depends on nothing else.
//
// In a pod:
//
//	config, err := k8sstore.InCluster()
//	if err != nil {
//		return err
//	}
//	register, err := k8sstore.New(config)
//
// With a configuration of client-go, which is in no way needed:
//
//	client, err := rest.HTTPClientFor(config)
//	if err != nil {
//		return err
//	}
//	register, err := k8sstore.New(k8sstore.Config{Client: client, Server: config.Host, Namespace: "orders"})
//
// # Permissions
//
// The service account needs three verbs, and no delete, list or watch:
//
//	apiVersion: rbac.authorization.k8s.io/v1
//	kind: Role
//	metadata: {name: sfstream, namespace: orders}
//	rules:
//	- apiGroups: [""]
//	  resources: [configmaps]
//	  verbs: [get, create, update]
//	---
//	apiVersion: rbac.authorization.k8s.io/v1
//	kind: RoleBinding
//	metadata: {name: sfstream, namespace: orders}
//	roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: sfstream}
//	subjects:
//	- {kind: ServiceAccount, name: default, namespace: orders}
//
// # What is stored
//
// There is one ConfigMap for each key. Its name is a hash of the key, which the annotation
// sfstream/key shows. A ConfigMap holds any bytes up to 1 MiB; a Lease has no place for a value but
// its annotations, and its own fields would tell less than the value does. All have the label
// app.kubernetes.io/managed-by=sfstream:
//
//	kubectl get configmaps -l app.kubernetes.io/managed-by=sfstream
//
// A revision is the uid and the resourceVersion of the object: one that is deleted and created
// again has another uid. Reads name no resourceVersion, so they are not answered from a cache.
//
// # Caveats
//
//   - An update replaces the object: labels and annotations that others add do not stay.
//   - After a restore of the cluster's own etcd resourceVersions come again. Stop all replicas while it is
//     restored, as other controllers are. The markers are those of the backup: the events since then come
//     again, if Salesforce still has them.
//   - Each leader writes to the API server of the cluster up to once a second and channel. For more than some
//     dozens of channels another register is kinder to it.
//   - While the API server is upgraded nothing can be put. A lease of 30 seconds outlives most of that.
package k8sstore
