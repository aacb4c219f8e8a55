package main

func (r *Report) markdown() string { return "" }
func plainTable(s string) string { return s }
func publish(out, dir string) error { return nil }
