# The same image without a container engine: make image-archive. A test holds both
# to the same facts (test/cluster/image_test.go).
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY *.go ./
COPY internal internal
ARG VERSION
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X sts-mutating-webhook/internal/app.version=$VERSION" -o /sts-webhook .

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /sts-webhook /sts-webhook
# Numeric, so that the kubelet can hold it to runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/sts-webhook"]
