// Browsers refuse workers in pages opened from the file system (file://), and the search runs in one.
// This class runs the worker's script in a hidden frame in place of a thread; messages are copies, as of a worker.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.onmessage = this.onerror = this.onmessageerror = null
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.ready = new Promise((resolve) => {
        this.frame.onload = () => {
          const inner = this.frame.contentWindow
          inner.postMessage = (data) => this.onmessage && this.onmessage({ data: structuredClone(data) })
          const script = inner.document.createElement("script")
          script.src = new URL(url, location.href).href
          script.onload = () => resolve(inner)
          script.onerror = (event) => this.onerror && this.onerror(event)
          inner.document.body.append(script)
        }
      })
      document.body.append(this.frame)
    }

    postMessage(data) {
      const copy = structuredClone(data)
      this.ready.then((inner) => inner.onmessage({ data: copy }))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
