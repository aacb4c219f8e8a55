package lru

import "testing"

func TestForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	if v, ok := c.Get("a"); !ok || v != 1 {
		t.Fatalf("a is %d, %v", v, ok)
	}
	c.Put("c", 3)
	if _, ok := c.Get("b"); ok {
		t.Error("b is kept although it was used least recently")
	}
	c.Put("a", 4)
	if v, _ := c.Get("a"); v != 4 {
		t.Errorf("a is %d after 4 was put", v)
	}
	c.Drop("a")
	if _, ok := c.Get("a"); ok || c.Len() != 1 {
		t.Errorf("a was dropped; %d entries kept", c.Len())
	}
}
