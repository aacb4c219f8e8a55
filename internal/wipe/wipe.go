// Package wipe overwrites keys that lie in objects of other packages, such as
// the key schedules inside ciphers, which offer no way to do it.
package wipe

import (
	"reflect"
	"runtime"
	"sync"
	"unsafe"
)

// Object overwrites with zeros what the pointer p points to and reports whether
// it did: only an object that holds its secrets itself, without pointers, can
// be overwritten without knowing its inside. It must not be used any more.
func Object(p any) bool {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return false
	}
	n := size(v.Type().Elem())
	if n == 0 {
		return false
	}
	clear(unsafe.Slice((*byte)(v.UnsafePointer()), n))
	runtime.KeepAlive(p)
	return true
}

// sizes remembers size, as few types as there are.
var sizes sync.Map

// size is the length of objects of a type in bytes; 0 for those with pointers.
func size(t reflect.Type) uintptr {
	if n, ok := sizes.Load(t); ok {
		return n.(uintptr)
	}
	n := uintptr(0)
	if flat(t) {
		n = t.Size()
	}
	sizes.Store(t, n)
	return n
}

// flat reports whether objects of a type hold no pointers.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	}
	return false
}
