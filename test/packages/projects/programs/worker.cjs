const { parentPort, workerData } = require('node:worker_threads')
const { attach } = require('pg-managed-connection/worker')

async function main() {
  const manager = attach(workerData.port)
  const { rows } = await manager.query('SELECT 42 AS answer')
  await manager.end()
  parentPort.postMessage(rows[0].answer)
}

void main()
