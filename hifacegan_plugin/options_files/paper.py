"""The training of the paper, from which all other options files are derived: complete, commented, edited by hand."""

# The degradation of training goes to validation by a YAML anchor. Changes here reach the files in options/ by
# `make options`, and those that `hifacegan init` writes.
PAPER = """\
plugin: !!python/name:hifacegan_plugin.__version__  # imports the plugin into the host: keep this line first
name: HiFaceGAN_full
model_type: HiFaceGANCSRModel
scale: 1  # degraded and restored image have the same size
num_gpu: auto  # all GPUs of this machine; 0 trains on the CPU
manual_seed: 0  # of the initial weights; crops and degradations follow `seed` of the dataset (default: 0)

datasets:
  train:
    name: FFHQ
    type: DegradationDataset
    dataroot_gt: datasets/ffhq_512_train.lmdb  # an LMDB, a folder, or a list of them
    io_backend:
      type: lmdb  # disk for a folder
    degradation: &degradation full  # a recipe, or a list of steps: docs/degradations.md; `&` names it for val
    gt_size: 512  # side of the crop
    use_hflip: true
    use_rot: false  # faces are upright

    num_worker_per_gpu: 2  # each reads some 70 images of 512x512 per second
    persistent_workers: true  # starting a worker takes seconds, so keep them between epochs
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 1  # passes over the images per epoch, each with new crops and degradations
    prefetch_mode: ~
    deliver: uint8  # bytes, which this model scales on its device; other models need float

  val:
    name: FFHQ_test
    type: DegradationDataset
    dataroot_gt: datasets/ffhq_512_test.lmdb
    io_backend:
      type: lmdb
    degradation: *degradation  # drawn once per image: the same at every validation

network_g:  # its output is black in the first iterations: docs/training.md
  type: CSRGenerator
  num_feat: 64  # 48 fits cards with 12 GB
  variant: csr  # csr (the paper's network), lip_spade or spade (the baselines of its ablation)
  norm: syncbatch  # batch, syncbatch (statistics of all processes), instance or rms

network_d:
  type: MultiscalePatchDiscriminator
  num_feat: 64
  num_d: 2  # scales
  n_layers_d: 4

train:
  ema_decay: 0.999  # exponential moving average of the generator, validated and saved too; 0 disables it

  optim_g:  # two time-scales: half and twice the base rate of 2e-4
    type: Adam
    lr: !!float 1e-4
    betas: [0.0, 0.9]
  optim_d:
    type: Adam
    lr: !!float 4e-4
    betas: [0.0, 0.9]

  scheduler:  # 30 epochs of 5,000 iterations at the full rate, then 20 down to zero
    type: LinearDecayLR
    start_iter: 150000
    end_iter: 250000
  total_iter: 250000
  warmup_iter: -1

  perceptual_opt:  # needs the ImageNet weights of VGG19 (downloaded once); remove this section to train without
    type: PerceptualLoss
    layer_weights:
      relu1_1: 0.03125
      relu2_1: 0.0625
      relu3_1: 0.125
      relu4_1: 0.25
      relu5_1: 1.0
    vgg_type: vgg19
    use_input_norm: false  # as in the reference: images in [0, 1], not normalised
    range_norm: false
    perceptual_weight: 10.0
    style_weight: 0
    criterion: l1
  gan_opt:
    type: MultiScaleGANLoss
    gan_type: lsgan  # or hinge
    loss_weight: 1.0
  feature_matching_opt:
    type: FeatureMatchingLoss
    criterion: l1
    loss_weight: 10.0

  net_d_iters: 1  # update the generator every so many iterations
  net_d_init_iters: 0  # train the discriminator alone for so many iterations first

path:
  experiments_root: experiments  # below the current folder, where --auto_resume looks
  pretrain_network_g: ~  # weights to start from: this plugin's, the reference's or BasicSR's
  param_key_g: params_ema
  strict_load_g: true
  resume_state: ~  # a .state file to resume from; --auto_resume finds the newest

val:
  val_freq: !!float 25e3
  save_img: false  # true writes every image at every validation; TensorBoard shows four
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 0
    ssim:
      type: calculate_ssim
      crop_border: 0
    lpips:  # this and fed are left out, with a message, if package or weights are missing
      type: calculate_lpips
    fed:  # face embedding distance
      type: calculate_fed

logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

dist_params:
  backend: nccl  # gloo is used without a GPU
  port: 29500
"""
