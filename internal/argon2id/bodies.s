// With this file in the package, functions may be declared without a body.
