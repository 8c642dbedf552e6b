// Package chaos lets programs live through random faults, and compares what they saw with a model:
// of many short lives, of one long one, and of processes that are killed.
package chaos
