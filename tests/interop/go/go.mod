module hookferry.test/receiver

go 1.19
