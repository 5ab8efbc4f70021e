// Package timerslack has a process of which nobody minds that it wakes up a little late do so less
// often.
package timerslack
