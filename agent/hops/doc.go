// Package hops measures how long each stage of the agent takes: the
// action_duration_time that heartbeats carry. It is data that every stage may
// write to; it decides nothing.
package hops
