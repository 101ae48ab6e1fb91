package data

import "testing"

func checkLake(t *testing.T, dir string, src *source) {}
