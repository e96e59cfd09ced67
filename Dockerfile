# The same image without a container engine: make image-archive. A test holds both
# to the same facts (test/cluster/image_test.go); test/release builds this file.
ARG GO_IMAGE=golang:1.26-bookworm
# Go compiles for the target by itself, so the build stage needs no emulation.
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY *.go ./
COPY internal internal
ARG VERSION
ARG REVISION
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X sts-mutating-webhook/internal/app.version=$VERSION -X sts-mutating-webhook/internal/app.revision=$REVISION" \
    -o /sts-webhook .

FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title=sts-webhook
LABEL org.opencontainers.image.version=$VERSION
LABEL org.opencontainers.image.revision=$REVISION
LABEL org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /sts-webhook /sts-webhook
# Numeric, so that the kubelet can hold it to runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/sts-webhook"]
