package server

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// contract is api/openapi.yaml. MOVE, COPY and MKCOL stand in it as an
// extension, in the form that OpenAPI 3.2 made part of the standard; it is
// read as such, so that they are checked like the others.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	b, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		return nil, err
	}
	if doc, err := openapi3.NewLoader().LoadFromData(b); err != nil {
		return nil, err
	} else if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	b = bytes.ReplaceAll(b, []byte("x-additionalOperations:"), []byte("additionalOperations:"))
	b = bytes.Replace(b, []byte("openapi: 3.1.0"), []byte("openapi: 3.2.0"), 1)
	for _, t := range []string{"application/x-ndjson", "application/pem-certificate-chain", "application/pkcs10", "application/x-tar"} {
		openapi3filter.RegisterBodyDecoder(t, openapi3filter.PlainBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

// exercised collects the operations that were answered with success.
var exercised sync.Map

// conforms is a transport that holds every answer of the server, and every
// request that it accepted, to the contract.
type conforms struct {
	t  testing.TB
	tr http.RoundTripper
}

func (c conforms) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.tr.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	doc, err := contract()
	if err != nil {
		c.t.Errorf("api/openapi.yaml: %v", err)
		return resp, nil
	}
	in := requestInput(doc, r)
	if in == nil {
		return resp, nil // no such endpoint, or no such method: nothing is promised
	}
	if resp.StatusCode < 400 {
		exercised.Store(in.Route.Operation.OperationID, true)
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			c.t.Errorf("%s %s was accepted, but the contract does not allow it: %v", r.Method, r.URL, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options}
	if !strings.Contains(r.URL.RawQuery, "follow=true") {
		body, readErr := io.ReadAll(resp.Body)
		resp.Body.Close()
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{readErr}))
		if readErr != nil {
			return resp, nil // broken off on purpose
		}
		out.SetBodyBytes(body)
		c.lines(doc, in.Route.Operation.OperationID, resp, body)
	} else if resp.StatusCode < 400 {
		return resp, nil
	}
	if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
		c.t.Errorf("%s %s: the answer is not what the contract promises: %v", r.Method, r.URL, err)
	}
	return resp, nil
}

// lines checks each line of an NDJSON answer, for which the contract has a
// schema but OpenAPI 3.1 no place.
func (c conforms) lines(doc *openapi3.T, operation string, resp *http.Response, body []byte) {
	schema := doc.Components.Schemas[map[string]string{"listDirectory": "entry", "listRoot": "entry", "followChanges": "change"}[operation]]
	if schema == nil || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		return
	}
	for line := range bytes.Lines(body) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			c.t.Errorf("%s: %v in line %q", operation, err, line)
		} else if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
			c.t.Errorf("%s: line %q: %v", operation, line, err)
		}
	}
}

// failing is the end of a body as it was read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// requestInput finds the operation of a request in the contract.
func requestInput(doc *openapi3.T, r *http.Request) *openapi3filter.RequestValidationInput {
	raw := strings.TrimPrefix(r.URL.Opaque, "//"+r.URL.Host)
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil
	}
	t, _ := findTarget(path)
	params := map[string]string{"path": t.path, "dir": t.path, "fs": t.fs, "user": t.name, "key": t.name, "action": t.action, "upload": t.name, "part": t.action}
	key := map[route]string{routeData: "/data/{path}", routeObject: objectsPrefix + "{fs}/objects/{path}", routeChanges: "/changes",
		routeHello: "/auth/hello", routeSession: "/auth/session", routeRenew: "/auth/renew", routeCertificate: "/auth/certificate",
		routeLive: "/livez", routeReady: "/readyz", routeMetrics: "/metrics",
		routeBuckets: "/api/v1/buckets", routeBucket: objectsPrefix + "{fs}", routeEncryption: objectsPrefix + "{fs}/encryption",
		routeUsers: objectsPrefix + "{fs}/users", routeUser: objectsPrefix + "{fs}/users/{user}", routeGrants: objectsPrefix + "{fs}/grants",
		routeKeys: apiPrefix + "kms/keys", routeKey: apiPrefix + "kms/keys/{key}", routeKeyAction: apiPrefix + "kms/keys/{key}/{action}",
		routeKMSStatus: apiPrefix + "kms/status", routeCacheClear: apiPrefix + "cache/clear", routeArchive: objectsPrefix + "{fs}/archive",
		routeUploads: objectsPrefix + "{fs}/uploads", routeUpload: objectsPrefix + "{fs}/uploads/{upload}",
		routeUploadPart: objectsPrefix + "{fs}/uploads/{upload}/parts/{part}", routeUploadComplete: objectsPrefix + "{fs}/uploads/{upload}/complete"}[t.route]
	if t.dir && r.Method == http.MethodGet {
		if key = "/data/{dir}/"; t.path == "" {
			key = "/data/"
		}
	}
	if t.route == routeChanges && t.fs != "" {
		key = objectsPrefix + "{fs}/changes"
	}
	item := doc.Paths.Value(key)
	if item == nil || item.GetOperation(r.Method) == nil {
		return nil
	}
	clone := r.Clone(r.Context())
	clone.Body = http.NoBody
	o := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true}
	if r.GetBody != nil && strings.Contains(r.Header.Get("Content-Type"), "json") {
		clone.Body, _ = r.GetBody()
	} else {
		o.ExcludeRequestBody = true
	}
	return &openapi3filter.RequestValidationInput{Request: clone, PathParams: params, QueryParams: r.URL.Query(), Options: o,
		Route: &routers.Route{Spec: doc, Path: key, PathItem: item, Method: r.Method, Operation: item.GetOperation(r.Method)}}
}

// TestMain also sees to it that the tests, run as a whole, used every
// operation of the contract.
func TestMain(m *testing.M) {
	code := m.Run()
	whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""
	if doc, err := contract(); code == 0 && whole {
		if err != nil {
			fmt.Println("api/openapi.yaml:", err)
			os.Exit(1)
		}
		var missing []string
		for _, item := range doc.Paths.Map() {
			for _, op := range item.Operations() {
				if _, ok := exercised.Load(op.OperationID); !ok {
					missing = append(missing, op.OperationID)
				}
			}
		}
		if slices.Sort(missing); len(missing) > 0 {
			fmt.Println("FAIL: no test used these operations of api/openapi.yaml:", missing)
			code = 1
		}
	}
	os.Exit(code)
}
